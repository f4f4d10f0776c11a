"""The pixel encodings of ``sensor_msgs/Image``: what is checked, where the pixels lie, how they become RGB."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError

Labels = NDArray[np.uint8] | NDArray[np.uint16]  # class ids, (H, W)
MAX_SIDE = 16384  # pixels; beyond it a header is damaged, or its image would fill the memory


class Encoding(NamedTuple):
    """How one pixel is stored."""

    channels: int
    to_rgb: int | None = None  # OpenCV's conversion; None where the bytes are RGB already
    itemsize: int = 1
    paired: bool = False  # two columns share their colour

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
    "8UC3": _BGR,  # OpenCV's order, as RViz takes it
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
    """What is needed of a ``sensor_msgs/Image``; messages of rclpy and of rosbags fit alike."""

    height: int
    width: int
    encoding: str
    is_bigendian: Any
    step: int
    data: Any


def checked(message: ImageMessage) -> Encoding:
    """The message's encoding, after its size and its bytes have been found to fit it.

    Raises:
        ImageError: Unknown encoding, no pixels, absurd or odd size, rows longer than ``step``, or missing bytes.
    """
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise ImageError("unknown encoding", got=f"'{message.encoding}'", expected="one of " + ", ".join(ENCODINGS))
    width, height, where = message.width, message.height, f"encoding {message.encoding}"
    check_size(width, height)
    if encoding.paired and width % 2:
        raise ImageError("odd width", where=where, got=width, expected="an even number of columns")
    row = width * encoding.pixel_bytes
    if message.step < row:
        raise ImageError("step too small", where=where, got=message.step, expected=f"{row} bytes for {width} columns")
    got, needed = buffer(message.data).nbytes, message.step * height
    if got < needed:
        raise ImageError("truncated image", where=where, got=f"{got} bytes", expected=f"{needed} for {width}x{height}")
    return encoding


def check_size(width: int, height: int) -> None:
    """Refuses images without pixels and those of absurd size.

    Raises:
        ImageError: A side is below 1 or above ``MAX_SIDE``.
    """
    size = f"{width}x{height}"
    if width < 1 or height < 1:
        raise ImageError("empty image", got=size, expected="at least 1x1")
    if max(width, height) > MAX_SIDE:
        raise ImageError("absurd image size", got=size, expected=f"sides of at most {MAX_SIDE} pixels")


def buffer(data: Any) -> memoryview:
    """The bytes behind ``data`` (array.array, ndarray, bytes), uncopied; a plain list is copied."""
    return memoryview(bytes(data) if isinstance(data, list | tuple) else data)


def pixels(message: ImageMessage, encoding: Encoding) -> NDArray[Any]:
    """A view of the message's bytes without the padding of its rows: (H, W, C), or (H, W) for one channel."""
    shape = (message.height, message.width, encoding.channels)
    dtype = np.dtype(f"{'>' if message.is_bigendian else '<'}u{encoding.itemsize}")
    strides = (message.step, encoding.pixel_bytes, encoding.itemsize)
    view: NDArray[Any] = np.ndarray(shape, dtype, buffer(message.data), strides=strides)
    return view[..., 0] if encoding.channels == 1 else view


def to_rgb(view: NDArray[Any], encoding: Encoding) -> NDArray[np.uint8]:
    """The view's pixels as (H, W, 3) uint8 RGB; 16-bit grey, 0 to 65535, is scaled to 0 to 255."""
    if encoding.to_rgb is None:
        return view
    if encoding.itemsize == 2:
        view = cv2.convertScaleAbs(view.astype(np.uint16), alpha=255.0 / 65535.0)
    return cast("NDArray[np.uint8]", cv2.cvtColor(view, encoding.to_rgb))
