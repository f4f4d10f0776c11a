"""Image files: read completely or refused, written completely or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.conversion import decode_file, decompressed
from semla_ros.whole_file import whole_file

FORMATS = {".png": "PNG", ".jpg": "JPEG"}  # that images are encoded in
Pixels = TypeVar("Pixels", bound=NDArray[Any])
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp", ".tif", ".tiff"}


def read_rgb(path: Path, bit_depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Reads a colour image, as a camera's images are decoded.

    Args:
        path: Image file of any format that OpenCV reads.
        bit_depth: Number of bits that the images of a folder use where they have 16 bits, updated by this image. By
            default 16.

    Returns:
        (H, W, 3) uint8, RGB, contiguous.

    Raises:
        ImageError: The file is missing, truncated, damaged, too large or not an image.
    """
    return _read(path, lambda data: decode_file(data, bit_depth=bit_depth))


def read_unchanged(path: Path) -> NDArray[np.integer]:
    """Reads the stored values of an image, for example the ids of a label map.

    Args:
        path: Image file of any format that OpenCV reads.

    Returns:
        (H, W) or (H, W, C), uint8 or uint16 as in the file.

    Raises:
        ImageError: The file is missing, truncated, damaged, too large or not an image.
    """
    return _read(path, lambda data: np.asarray(decompressed(data, cv2.IMREAD_UNCHANGED)))


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Writes an image as PNG. The file appears under its name only after it is complete.

    Args:
        path: File to write; its folder exists. An existing file is replaced.
        pixels: RGB (H, W, 3) or single-channel (H, W), uint8.

    Raises:
        ImageError: The image cannot be encoded, the disk is full, or the place cannot be written to.
    """
    write_whole(path, encoded(pixels))


def encoded(pixels: NDArray[np.uint8] | NDArray[np.uint16], suffix: str = ".png", quality: int = 95) -> bytes:
    """Encodes an image.

    Args:
        pixels: RGB (H, W, 3) uint8, or single-channel (H, W), uint8 or, as PNG, uint16.
        suffix: ".png" or ".jpg".
        quality: Quality of a JPEG file, 1 to 100.

    Raises:
        ImageError: The image cannot be encoded, for example because it is empty or a side is too long for JPEG.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    try:
        success, data = cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)
    except cv2.error:
        success = False
    if not success:
        raise ImageError(f"image cannot be encoded as {FORMATS[suffix]}", got=pixels.shape)
    return bytes(data)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, which appears under its name only after it is complete.

    Args:
        path: File to write; its folder exists. An existing file is replaced.
        data: Content.

    Raises:
        ImageError: The disk is full, or the place cannot be written to.
    """
    with writing(path), whole_file(path) as partial:
        partial.write_bytes(data)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system error while ``path`` is written into an error that names the file and the remedy.

    Raises:
        ImageError: The disk is full or the place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise ImageError(
            "file cannot be written", where=path, got=error.strerror,
            hint="Free space on the disk or choose another folder, then run the command again.",
        ) from error  # fmt: skip


def _read(path: Path, decode: Callable[[bytes], Pixels]) -> Pixels:
    try:
        return decode(path.read_bytes())
    except (OSError, ImageError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(
            "image file cannot be read", where=path, hint=f"Reason: {reason}. Restore the file or remove it."
        ) from error
