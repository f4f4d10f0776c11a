"""Conversion by cv_bridge, for the encodings that the installed cv_bridge converts correctly.

A cv_bridge that was built for another version of NumPy or OpenCV may confuse types or crash the process instead of
raising an error. It is therefore compared with OpenCV once, in a child process
(``python -m semla_ros.images.bridge``). The first image that is decoded waits for this comparison.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from semla_ros.images.bit_depth import full_range
from semla_ros.images.encodings import ENCODINGS, Encoding, ImageMessage, pixels, to_rgb

PROBE_S = 60.0  # for the trial of cv_bridge


def handles(message: ImageMessage) -> bool:
    """Whether cv_bridge converts this message correctly. It is not used for 16 bits: it assumes the full range."""
    aligned = message.step % ENCODINGS[message.encoding].pixel_bytes == 0
    return message.encoding in correct_encodings() and aligned and not message.is_bigendian


def convert(message: ImageMessage) -> NDArray[np.uint8]:
    """Converts a message with cv_bridge to an image, (H, W, 3) uint8, RGB."""
    return cast("NDArray[np.uint8]", _cv_bridge().imgmsg_to_cv2(message, "rgb8"))


@functools.cache
def correct_encodings() -> frozenset[str]:
    """The 8-bit encodings that cv_bridge converts like OpenCV; none if it is missing, crashes or hangs."""
    if importlib.util.find_spec("cv_bridge") is None:
        return frozenset()
    command = [sys.executable, "-m", "semla_ros.images.bridge"]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return frozenset()
    return frozenset(probe.stdout.split()) if probe.returncode == 0 else frozenset()


@functools.cache
def _cv_bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()


def _agrees(name: str, encoding: Encoding) -> bool:
    """Whether cv_bridge and OpenCV convert an image with padded rows to the same pixels."""
    step = 12 * encoding.pixel_bytes
    data = np.random.default_rng(0).integers(0, 256, 8 * step, dtype=np.uint8)
    message = SimpleNamespace(height=8, width=8, encoding=name, is_bigendian=0, step=step, data=data)
    ours = to_rgb(pixels(message, encoding), encoding, full_range())
    try:
        theirs = convert(message)
        return theirs.shape == ours.shape and bool(np.abs(theirs.astype(int) - ours).max() <= 1)
    except Exception:  # a broken cv_bridge may raise anything; it is not used then
        return False


if __name__ == "__main__":
    print(*(name for name, encoding in ENCODINGS.items() if encoding.itemsize == 1 and _agrees(name, encoding)))
