"""Conversion of camera messages and image files to RGB arrays, and of label images to colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semla_ros.errors import ImageError
from semla_ros.images import bridge
from semla_ros.images.bit_depth import BitDepth, full_range
from semla_ros.images.classes import ClassInfo, Labels, unlabelled
from semla_ros.images.encodings import (
    MAX_SIDE,
    ImageMessage,
    buffer,
    check_size,
    encoding_of,
    pixels,
    quoted,
    to_rgb,
)

START_OF_JPEG, END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"
BAND = 128  # rows
CAMERA_FILE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


class CompressedImageMessage(Protocol):
    """The fields of a ``sensor_msgs/CompressedImage`` that are read, for messages of rclpy and of rosbags."""

    format: str
    data: Any


def decode(message: ImageMessage, bit_depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Decodes a ``sensor_msgs/Image``.

    Args:
        message: The message. Its encoding is one of ``semla_ros.images.encodings.ENCODINGS``.
        bit_depth: Number of bits that the camera uses in 16-bit images, updated by this image. By default 16.

    Returns:
        Image, (height, width, 3) uint8, RGB, writable. For rgb8 it is a view of the message's bytes if these are
        writable. 16-bit grey values are scaled to 0 to 255, see `BitDepth`.

    Raises:
        ImageError: The encoding is unknown, the image is empty, too large or of odd width, ``step`` is too small for a
            row, or bytes are missing.
    """
    encoding = encoding_of(message)
    # 1. cv_bridge, where it is installed and converts this encoding correctly. rgb8 needs no conversion.
    if encoding.to_rgb is not None and bridge.handles(message):
        return bridge.convert(message)
    # 2. OpenCV's conversion of the pixels; for rgb8 a view of the message's bytes.
    rgb = to_rgb(pixels(message, encoding), encoding, bit_depth or full_range())
    # 3. A copy where the message's bytes are read-only, because PyTorch needs a writable array.
    return rgb if rgb.flags.writeable else rgb.copy()


def decode_compressed(message: CompressedImageMessage, bit_depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Decodes a ``sensor_msgs/CompressedImage``: JPEG, PNG or another format that OpenCV reads.

    Args:
        message: The message. The format is recognised from its bytes, not from its field ``format``.
        bit_depth: As in `decode`.

    Returns:
        Image, (H, W, 3) uint8, RGB, in the orientation of the sensor: the EXIF orientation is ignored. 16-bit values
        are scaled to 0 to 255, see `BitDepth`.

    Raises:
        ImageError: The data is empty, truncated or not an image, the image is too large, or it is a depth image
            (compressedDepth).
    """
    if "compressedDepth" in message.format:
        hint = "Choose the topic of the colour camera."
        raise ImageError("a depth image has no colours", where=f"format {quoted(message.format)}", hint=hint)
    return decode_file(bytes(buffer(message.data)), CAMERA_FILE, bit_depth)


def decode_file(data: bytes, flags: int = cv2.IMREAD_COLOR, bit_depth: BitDepth | None = None) -> NDArray[np.uint8]:
    """Decodes the bytes of an image file.

    Args:
        data: JPEG, PNG or another format that OpenCV reads.
        flags: OpenCV's reading flags. By default the EXIF orientation is applied.
        bit_depth: As in `decode`.

    Returns:
        Image, (H, W, 3) uint8, RGB.

    Raises:
        ImageError: The data is empty, truncated or not an image, the image is too large, or its values are not unsigned
            integers of 8 or 16 bits.
    """
    bgr = decompressed(data, flags | cv2.IMREAD_ANYDEPTH)
    if bgr.dtype == np.uint16:
        bgr = (bit_depth or full_range()).to_uint8(bgr)
    if bgr.dtype != np.uint8:
        raise ImageError("unsupported pixel type", got=bgr.dtype, expected="8 or 16 bits per channel, unsigned")
    return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def decompressed(data: bytes, flags: int) -> Any:
    """Reads the bytes of an image file with OpenCV.

    Args:
        data: JPEG, PNG or another format that OpenCV reads.
        flags: OpenCV's reading flags.

    Returns:
        Image, (H, W) or (H, W, C), BGR, with its own number of bits.

    Raises:
        ImageError: The data is empty, truncated or not an image, or the image is too large.
    """
    if not data:
        raise ImageError("empty image", got="0 bytes")
    check_size(*_announced_size(data))
    # Some versions of OpenCV fill the missing part of a truncated JPEG with grey, so its end marker is looked for. An
    # end marker in the first half belongs to an embedded thumbnail.
    cut_off = data.startswith(START_OF_JPEG) and data.rfind(END_OF_JPEG) < len(data) // 2
    try:
        image = None if cut_off else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise ImageError("truncated or damaged image", got=f"{len(data)} bytes")
    return image


def to_mono8(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Confidences (H, W), 0 to 1, as round(255 p), uint8."""
    return np.asarray(cv2.convertScaleAbs(confidence, alpha=255.0), np.uint8)  # rounds and saturates


def colorize(labels: Labels, classes: Sequence[ClassInfo]) -> NDArray[np.uint8]:
    """Paints a label image in the colours of its classes.

    Args:
        labels: Class ids, (H, W) uint8 or uint16.
        classes: The classes. Ids of no class, such as unlabelled pixels, become black.

    Returns:
        Image, (H, W, 3) uint8, RGB.
    """
    palette = np.zeros((np.iinfo(labels.dtype).max + 1, 3), np.uint8)
    for info in classes:
        palette[info.id] = info.color
    painted = np.empty((*labels.shape, 3), np.uint8)
    for top in range(0, len(labels), BAND):  # in bands of rows: NumPy converts the indices to 8 bytes each
        rows = slice(top, top + BAND)
        np.take(palette, labels[rows], axis=0, out=painted[rows], mode="clip")
    return painted


def overlay(
    rgb: NDArray[np.uint8], labels: Labels, classes: Sequence[ClassInfo], opacity: float = 0.5
) -> NDArray[np.uint8]:
    """Blends an image with the colours of its classes. Unlabelled pixels stay as they are.

    Args:
        rgb: Image, (H, W, 3) uint8.
        labels: Class ids, (H, W) uint8 or uint16; the largest value of the dtype means unlabelled.
        classes: The classes.
        opacity: Opacity of the colours, 0 to 1.

    Returns:
        Image, (H, W, 3) uint8, RGB.

    Raises:
        ImageError: Image and labels differ in size.
    """
    if rgb.shape[:2] != labels.shape:
        raise ImageError("labels do not fit the image", got=labels.shape, expected=rgb.shape[:2])
    blend = cv2.addWeighted(rgb, 1.0 - opacity, colorize(labels, classes), opacity, 0.0)
    unpainted = (labels == unlabelled(labels)).astype(np.uint8)
    return cast("NDArray[np.uint8]", cv2.copyTo(rgb, unpainted, blend))


def _announced_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header of an image file. Nothing is decompressed."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            size: tuple[int, int] = image.size
            return size
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        expected = f"at most {limit} pixels, with sides of at most {MAX_SIDE} pixels"
        raise ImageError("image too large", got=f"more in a file of {len(data)} bytes", expected=expected) from error
    except Exception as error:  # each of Pillow's readers raises errors of its own
        expected = "a whole JPEG, PNG or similar file"
        raise ImageError("not an image", got=f"{len(data)} bytes", expected=expected) from error
