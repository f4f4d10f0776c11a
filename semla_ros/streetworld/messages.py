"""Camera messages of ROS 2, built with rosbags so that no ROS installation is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from semla_ros.images.frame import Frame
from semla_ros.streetworld.camera import Camera

STORE = get_typestore(Stores.ROS2_JAZZY)


def header(frame: Frame) -> Any:
    """std_msgs/Header with the stamp and frame_id of the frame."""
    seconds, rest = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id)


def image(frame: Frame, pixels: NDArray[np.uint8], encoding: str) -> Any:
    """sensor_msgs/Image with unpadded rows.

    Args:
        frame: Frame whose stamp and frame_id the message takes.
        pixels: (H, W) or (H, W, C) uint8.
        encoding: Encoding of ``pixels``, for example "rgb8".
    """
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return STORE.types["sensor_msgs/msg/Image"](
        header=header(frame),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=data.size // height,
        data=data,
    )


def camera_info(frame: Frame, camera: Camera) -> Any:
    """sensor_msgs/CameraInfo of a pinhole camera without distortion."""
    k = camera.matrix
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header(frame),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def text(content: str) -> Any:
    """std_msgs/String with this content."""
    return STORE.types["std_msgs/msg/String"](data=content)
