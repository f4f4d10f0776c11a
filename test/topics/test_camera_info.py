from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semla_ros.images.classes import class_table
from semla_ros.recordings.writer import new as rosbags_message
from semla_ros.topics.camera_info import camera_info
from semla_ros.topics.messages import header
from semla_ros.topics.sources import SegmentedImage


def rclpy_message(kind: str, /, **fields: Any) -> Any:
    pytest.importorskip("rclpy")
    from semla_ros.node.message_factory import new

    return new(kind, **fields)


def intrinsics(width: int = 640, height: int = 480) -> Any:
    """What a camera driver publishes, as an object of any library."""
    k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    p = [500.0, 0.0, 320.0, -60.0, 0.0, 510.0, 240.0, 6.0, 0.0, 0.0, 1.0, 0.0]
    roi = SimpleNamespace(x_offset=64, y_offset=48, width=320, height=240, do_rectify=True)
    return SimpleNamespace(
        width=width, height=height, distortion_model="plumb_bob", d=[0.1, -0.2, 0.0, 0.0, 0.0], k=k,
        r=np.eye(3).ravel().tolist(), p=p, binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def segmented(info: Any, height: int, width: int, new: Any) -> SegmentedImage:
    labels = np.zeros((height, width), np.uint8)
    rgb = np.zeros((480, 640, 3), np.uint8)
    stamped = header(7_000_000_001, "front", new)
    return SegmentedImage(stamped, rgb, labels, labels, class_table(("road", "sky")), 0.5, 0.1, info)


@pytest.mark.parametrize("new", [rosbags_message, rclpy_message])
def test_intrinsics_are_scaled_to_the_size_of_the_mask_under_the_header_of_the_image(new: Any) -> None:
    message = camera_info(segmented(intrinsics(), 120, 320, new), new)
    assert (message.width, message.height, message.distortion_model) == (320, 120, "plumb_bob")
    assert list(message.k) == [250.0, 0.0, 160.0, 0.0, 127.5, 60.0, 0.0, 0.0, 1.0]
    assert list(message.p) == [250.0, 0.0, 160.0, -30.0, 0.0, 127.5, 60.0, 1.5, 0.0, 0.0, 1.0, 0.0]
    assert list(message.d) == [0.1, -0.2, 0.0, 0.0, 0.0]
    assert (message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height) == (32, 12, 160, 60)
    assert message.roi.do_rectify is True
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (7, 1, "front")


def test_intrinsics_of_another_size_than_the_image_are_scaled_by_their_own_size() -> None:
    message = camera_info(segmented(intrinsics(1280, 960), 480, 640, rosbags_message), rosbags_message)
    assert list(message.k[:3]) == [250.0, 0.0, 160.0]


@pytest.mark.parametrize("info", [None, intrinsics(0, 0)])
def test_without_intrinsics_nothing_is_published(info: Any) -> None:
    assert camera_info(segmented(info, 480, 640, rosbags_message), rosbags_message) is None
