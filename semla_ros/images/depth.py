"""Depth images in the two encodings of REP 118: 16UC1 in millimetres and 32FC1 in metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError
from semla_ros.images.encodings import ImageMessage, buffer, check_layout, quoted

ENCODINGS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}  # some drivers write mono16 for 16UC1
METRES_PER_MILLIMETRE = np.float32(0.001)


def depth_values(message: ImageMessage) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Returns a view (H, W) of the values of a depth image: millimetres as uint16, or metres as float32.

    Args:
        message: A ``sensor_msgs/Image``, of rclpy or of rosbags.

    Raises:
        ImageError: The encoding is none of a depth image, the image is empty or too large, ``step`` is too small for a
            row, or bytes are missing.
    """
    kind = ENCODINGS.get(message.encoding)
    if kind is None:
        expected = "one of " + ", ".join(ENCODINGS)
        raise ImageError("not the encoding of a depth image", got=quoted(message.encoding), expected=expected)
    dtype = np.dtype(f"{'>' if message.is_bigendian else '<'}{kind}")
    check_layout(message, dtype.itemsize)
    shape, strides = (message.height, message.width), (message.step, dtype.itemsize)
    return np.asarray(np.ndarray(shape, dtype, buffer(message.data), strides=strides))


def metres(values: NDArray[np.uint16] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Converts values of `depth_values` to metres.

    Args:
        values: Millimetres (uint16; 0 means no measurement) or metres (float32), of any shape.

    Returns:
        Distance along the optical axis, metres, float32, of the same shape. NaN without a measurement: for 0,
        negative values, infinity (too near or too far) and NaN.
    """
    if values.dtype.kind == "u":
        depth: NDArray[np.float32] = np.multiply(values, METRES_PER_MILLIMETRE, dtype=np.float32)
    else:
        depth = values.astype(np.float32)
    depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth
