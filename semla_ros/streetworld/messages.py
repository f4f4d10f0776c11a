"""The messages of a simulated camera, built with rosbags so that no ROS installation is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from semla_ros.images.frame import Frame
from semla_ros.recordings.writer import new
from semla_ros.streetworld.camera import Camera
from semla_ros.topics import messages


def header(frame: Frame) -> Any:
    """std_msgs/Header with the stamp and frame_id of the frame."""
    return messages.header(frame.stamp_ns, frame.frame_id, new)


def camera_info(frame: Frame, camera: Camera) -> Any:
    """sensor_msgs/CameraInfo of a pinhole camera without distortion."""
    k = camera.matrix
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        "sensor_msgs/msg/CameraInfo",
        header=header(frame), height=camera.height, width=camera.width, distortion_model="plumb_bob", d=np.zeros(5),
        k=k.reshape(-1), r=np.eye(3).reshape(-1), p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
        binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip
