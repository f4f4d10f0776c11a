"""The pixel encodings of ``sensor_msgs/Image``: checks, memory layout and conversion to RGB."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError
from semla_ros.images.bit_depth import BitDepth

MAX_SIDE = 16384  # pixels; with larger sides the header is damaged or the image would fill the memory
QUOTED = 40  # characters of text from outside that an error message quotes


class Encoding(NamedTuple):
    """How one pixel is stored.

    Attributes:
        channels: Values per pixel.
        to_rgb: OpenCV's conversion code to RGB; None if the values are RGB already.
        itemsize: Bytes per value, 1 or 2.
        paired: Whether two neighbouring columns share their colour (4:2:2 subsampling); the width is even then.
    """

    channels: int
    to_rgb: int | None = None
    itemsize: int = 1
    paired: bool = False

    @property
    def pixel_bytes(self) -> int:
        """Bytes from one column to the next."""
        return self.channels * self.itemsize


_MONO = Encoding(1, cv2.COLOR_GRAY2RGB)
_MONO16 = Encoding(1, cv2.COLOR_GRAY2RGB, itemsize=2)
_BGR = Encoding(3, cv2.COLOR_BGR2RGB)
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, paired=True)
_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUY2, paired=True)
ENCODINGS = {
    "rgb8": Encoding(3),
    "bgr8": _BGR,
    "8UC3": _BGR,  # OpenCV's order, which RViz assumes too
    "rgba8": Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _MONO,
    "8UC1": _MONO,
    "mono16": _MONO16,
    "16UC1": _MONO16,
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "bayer_rggb8": Encoding(1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": Encoding(1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": Encoding(1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": Encoding(1, cv2.COLOR_BayerGRBG2RGB),
}


class ImageMessage(Protocol):
    """The fields of a ``sensor_msgs/Image`` that are read, for messages of rclpy and of rosbags."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


def encoding_of(message: ImageMessage) -> Encoding:
    """Returns the encoding of a message whose size and bytes fit it.

    Raises:
        ImageError: The encoding is unknown, the image is empty, too large or of odd width, ``step`` is too small for a
            row, or bytes are missing.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError("unknown encoding", got=quoted(message.encoding), expected="one of " + ", ".join(ENCODINGS))
    check_layout(message, encoding.pixel_bytes)
    if encoding.paired and message.width % 2:
        where = f"encoding {message.encoding}"
        raise ImageError("odd width", where=where, got=message.width, expected="an even number of columns")
    return encoding


def check_layout(message: ImageMessage, pixel_bytes: int) -> None:
    """Checks that a message has all bytes of an image of its size.

    Args:
        message: The message.
        pixel_bytes: Bytes from one column to the next.

    Raises:
        ImageError: The image is empty or too large, ``step`` is too small for a row, or bytes are missing.
    """
    width, height, where = message.width, message.height, f"encoding {message.encoding}"
    check_size(width, height)
    row = width * pixel_bytes
    if message.step < row:
        raise ImageError("step too small", where=where, got=message.step, expected=f"{row} bytes for {width} columns")
    got, needed = buffer(message.data).nbytes, message.step * height
    if got < needed:
        raise ImageError("truncated image", where=where, got=f"{got} bytes", expected=f"{needed} for {width}x{height}")


def check_size(width: int, height: int) -> None:
    """Checks the size of an image in pixels.

    Raises:
        ImageError: A side is below 1 or above ``MAX_SIDE``.
    """
    size = f"{width}x{height}"
    if width < 1 or height < 1:
        raise ImageError("empty image", got=size, expected="at least 1x1")
    if max(width, height) > MAX_SIDE:
        raise ImageError("image too large", got=size, expected=f"sides of at most {MAX_SIDE} pixels")


def buffer(data: Any) -> memoryview:
    """Returns the bytes of ``data`` (array.array, ndarray, bytes) without a copy; a list or tuple is copied."""
    return memoryview(bytes(data) if isinstance(data, list | tuple) else data)


def pixels(message: ImageMessage, encoding: Encoding) -> NDArray[Any]:
    """Returns a view of the message's bytes without the padding of rows: (H, W, C), or (H, W) for one channel."""
    shape = (message.height, message.width, encoding.channels)
    dtype = np.dtype(f"{'>' if message.is_bigendian else '<'}u{encoding.itemsize}")
    strides = (message.step, encoding.pixel_bytes, encoding.itemsize)
    view: NDArray[Any] = np.ndarray(shape, dtype, buffer(message.data), strides=strides)
    return view[..., 0] if encoding.channels == 1 else view


def to_rgb(view: NDArray[Any], encoding: Encoding, bit_depth: BitDepth) -> NDArray[np.uint8]:
    """Converts pixels to RGB.

    Args:
        view: Pixels (H, W, C), or (H, W) for one channel.
        encoding: Their encoding.
        bit_depth: Number of bits in use in 16-bit grey values, updated by this image.

    Returns:
        Image (H, W, 3) uint8, RGB. For rgb8 it is ``view`` itself, not a copy.
    """
    if encoding.to_rgb is None:
        return view
    if encoding.itemsize == 2:
        view = bit_depth.to_uint8(view.astype(np.uint16))  # native byte order, packed rows
    return cast("NDArray[np.uint8]", cv2.cvtColor(view, encoding.to_rgb))


def quoted(text: str) -> str:
    """Returns text from outside for an error message: in quotation marks, at most `QUOTED` characters of it."""
    return f"'{text}'" if len(text) <= QUOTED else f"'{text[:QUOTED]}...' ({len(text)} characters)"
