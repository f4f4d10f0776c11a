"""cv_bridge, where it is installed and proves to be sound.

A cv_bridge built for another NumPy or OpenCV does not always raise: it may mix up types, or take the process down.
So it is tried once, in a process of its own (``python -m semla_ros.images.bridge``), against OpenCV.
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

from semla_ros.images.encodings import ENCODINGS, Encoding, ImageMessage, pixels, to_rgb


def handles(message: ImageMessage) -> bool:
    """Whether cv_bridge can be trusted with this message."""
    aligned = message.step % ENCODINGS[message.encoding].pixel_bytes == 0
    return message.encoding in sound_encodings() and aligned and not message.is_bigendian


def convert(message: ImageMessage) -> NDArray[np.uint8]:
    """The message's image by cv_bridge, (H, W, 3) uint8, RGB."""
    return cast("NDArray[np.uint8]", _cv_bridge().imgmsg_to_cv2(message, "rgb8"))


@functools.cache
def sound_encodings() -> frozenset[str]:
    """The encodings that cv_bridge converts as OpenCV does; none where it is missing or crashes."""
    if importlib.util.find_spec("cv_bridge") is None:
        return frozenset()
    probe = subprocess.run(
        [sys.executable, "-m", "semla_ros.images.bridge"], capture_output=True, text=True, check=False
    )
    return frozenset(probe.stdout.split()) if probe.returncode == 0 else frozenset()


@functools.cache
def _cv_bridge() -> Any:
    from cv_bridge import CvBridge

    return CvBridge()


def _agrees(name: str, encoding: Encoding) -> bool:
    """Whether cv_bridge and OpenCV make the same of one image with padded rows."""
    step = 12 * encoding.pixel_bytes
    data = np.random.default_rng(0).integers(0, 256, 8 * step, dtype=np.uint8)
    message = SimpleNamespace(height=8, width=8, encoding=name, is_bigendian=0, step=step, data=data)
    ours = to_rgb(pixels(message, encoding), encoding)
    try:
        theirs = convert(message)
        return theirs.shape == ours.shape and bool(np.abs(theirs.astype(int) - ours).max() <= 1)
    except Exception:  # whatever a broken cv_bridge comes up with: it is not used then
        return False


if __name__ == "__main__":
    print(*(name for name, encoding in ENCODINGS.items() if _agrees(name, encoding)))
