"""The one door for images: ROS messages to RGB arrays, label images to colours."""

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
from semla_ros.images.classes import ClassInfo
from semla_ros.images.encodings import ImageMessage, Labels, buffer, check_size, checked, pixels, to_rgb

START_OF_JPEG, END_OF_JPEG = b"\xff\xd8", b"\xff\xd9"


class CompressedImageMessage(Protocol):
    """What is needed of a ``sensor_msgs/CompressedImage``; messages of rclpy and of rosbags fit alike."""

    format: str
    data: Any


def decode(message: ImageMessage) -> NDArray[np.uint8]:
    """The image of a ``sensor_msgs/Image``.

    Args:
        message: The message; its encoding is one of ``semla_ros.images.encodings.ENCODINGS``.

    Returns:
        Image, (height, width, 3) uint8, RGB, writable. For rgb8 a view of the message's own bytes where those
        are writable; 16-bit grey values, 0 to 65535, are scaled to 0 to 255.

    Raises:
        ImageError: Unknown encoding, no pixels, absurd or odd size, rows longer than ``step``, or missing bytes.
    """
    encoding = checked(message)
    if encoding.to_rgb is not None and bridge.handles(message):
        return bridge.convert(message)
    rgb = to_rgb(pixels(message, encoding), encoding)
    return rgb if rgb.flags.writeable else rgb.copy()  # PyTorch wants it writable


def decode_compressed(message: CompressedImageMessage) -> NDArray[np.uint8]:
    """The image of a ``sensor_msgs/CompressedImage``: JPEG, PNG or whatever else OpenCV reads.

    Args:
        message: The message; its bytes, not its ``format``, tell how they are compressed.

    Returns:
        Image, (H, W, 3) uint8, RGB, as the sensor saw it: EXIF does not turn it. 16 bits are scaled to 8.

    Raises:
        ImageError: Empty, truncated, no image, absurd size, or a depth image (compressedDepth).
    """
    if "compressedDepth" in message.format:
        hint = "Choose the colour camera's topic."
        raise ImageError("a depth image is no image", where=f"format '{message.format}'", hint=hint)
    return decode_file(bytes(buffer(message.data)), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def decode_file(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """The image in the bytes of an image file.

    Args:
        data: JPEG, PNG or whatever else OpenCV reads.
        flags: OpenCV's reading flags. The default turns the image upright where EXIF says how.

    Returns:
        Image, (H, W, 3) uint8, RGB.

    Raises:
        ImageError: Empty, truncated, no image, or absurd size.
    """
    if not data:
        raise ImageError("empty image", got="0 bytes")
    check_size(*_announced_size(data))
    bgr = _decompressed(data, flags)
    if bgr is None:
        raise ImageError("truncated or damaged image", got=f"{len(data)} bytes")
    return cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def colorize(labels: Labels, classes: Sequence[ClassInfo]) -> NDArray[np.uint8]:
    """A label image in the colours of its classes.

    Args:
        labels: Class ids, (H, W) uint8 or uint16.
        classes: The classes; ids that are none of theirs (the unlabelled) come out black.

    Returns:
        Image, (H, W, 3) uint8, RGB.
    """
    palette = np.zeros((np.iinfo(labels.dtype).max + 1, 3), np.uint8)
    for info in classes:
        palette[info.id] = info.color
    return np.take(palette, labels, axis=0)


def overlay(
    rgb: NDArray[np.uint8], labels: Labels, classes: Sequence[ClassInfo], opacity: float = 0.5
) -> NDArray[np.uint8]:
    """The image with its classes' colours laid over it; unlabelled pixels show the bare image.

    Args:
        rgb: Image, (H, W, 3) uint8.
        labels: Class ids, (H, W) uint8 or uint16; the dtype's highest value is unlabelled.
        classes: The classes.
        opacity: Of the colours, 0 to 1.

    Returns:
        Image, (H, W, 3) uint8, RGB.

    Raises:
        ImageError: Image and labels differ in size.
    """
    if rgb.shape[:2] != labels.shape:
        raise ImageError("labels do not fit the image", got=labels.shape, expected=rgb.shape[:2])
    blend = cv2.addWeighted(rgb, 1.0 - opacity, colorize(labels, classes), opacity, 0.0)
    unlabelled = (labels == np.iinfo(labels.dtype).max).astype(np.uint8)
    return cast("NDArray[np.uint8]", cv2.copyTo(rgb, unlabelled, blend))


def _announced_size(data: bytes) -> tuple[int, int]:
    """Width and height as the file's header gives them, before anything is decompressed."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except Image.DecompressionBombError as error:
        raise ImageError("absurd image size", got=error) from error
    except Exception as error:  # Pillow raises whatever its many readers stumble over
        raise ImageError("no image", got=f"{len(data)} bytes", expected="JPEG, PNG or the like, whole") from error


def _decompressed(data: bytes, flags: int) -> Any:
    """OpenCV's BGR image, or None where the data is damaged."""
    # Some versions of OpenCV fill the missing part of a truncated JPEG with grey; a thumbnail's end lies far ahead.
    if data.startswith(START_OF_JPEG) and data.rfind(END_OF_JPEG) < len(data) // 2:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
