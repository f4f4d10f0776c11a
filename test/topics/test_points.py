"""The segmented point cloud: its geometry is that of the depth image, its layout what PCL, rviz and Nav2 read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clouds import fields_of, point_array
from numpy.typing import NDArray

from semla_ros.errors import ImageError
from semla_ros.images.classes import class_table
from semla_ros.recordings.writer import new as rosbags_message
from semla_ros.topics import messages
from semla_ros.topics.points import points
from semla_ros.topics.sources import DepthView, SegmentedImage

CLASSES = class_table(("road", "sky"))
FX, FY, CX, CY = 60.0, 50.0, 31.5, 23.0
NORMAL, DISTANCE = np.array([0.1, -0.7, 0.5]), 1.3  # a plane that fills the view
TOPIC = "/depth/image"


def rclpy_message(kind: str, /, **fields: Any) -> Any:
    pytest.importorskip("rclpy")
    from semla_ros.node.message_factory import new

    return new(kind, **fields)


def plane(height: int = 48, width: int = 64, scale: float = 1.0) -> NDArray[np.float64]:
    """Depth of the plane NORMAL · p = DISTANCE in metres; where a ray does not meet it, 0."""
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - scale * CX) / (scale * FX), (v - scale * CY) / (scale * FY), np.ones_like(u)], -1)
    along = rays @ NORMAL
    return np.where(along > 0.05, DISTANCE / np.maximum(along, 0.05), 0.0)


def depth_image(values: NDArray[Any], frame_id: str = "camera", new: Any = rosbags_message) -> Any:
    encoding = "16UC1" if values.dtype == np.uint16 else "32FC1"
    return new(
        "sensor_msgs/msg/Image", header=messages.header(7, frame_id, new), height=values.shape[0],
        width=values.shape[1], encoding=encoding, is_bigendian=0, step=values.strides[0],
        data=np.frombuffer(values.tobytes(), np.uint8),
    )  # fmt: skip


def intrinsics(width: int = 64, height: int = 48, scale: float = 1.0, new: Any = rosbags_message) -> Any:
    fx, fy, cx, cy = (scale * value for value in (FX, FY, CX, CY))
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        "sensor_msgs/msg/CameraInfo", header=messages.header(7, "camera", new), height=height, width=width,
        distortion_model="plumb_bob", d=np.zeros(5), k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]), r=np.zeros(9),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def segmented(
    depth: DepthView | None, size: tuple[int, int] = (48, 64), new: Any = rosbags_message, **changes: Any
) -> SegmentedImage:
    generator = np.random.default_rng(0)
    fields = {
        "header": messages.header(5_000_000_007, "camera", new),
        "rgb": generator.integers(0, 256, (48, 64, 3), np.uint8),
        "labels": generator.integers(0, 2, size, np.uint8),
        "confidence": generator.integers(0, 256, size, np.uint8),
        "classes": CLASSES, "overlay_opacity": 0.5, "support": 0.1, "depth": depth,
    }  # fmt: skip
    return SegmentedImage(**(fields | changes))


def cloud(
    values: NDArray[Any], size: tuple[int, int] = (48, 64), info: Any = None, **changes: Any
) -> tuple[Any, NDArray[Any]]:
    source = segmented(DepthView(TOPIC, depth_image(values), info or intrinsics()), size, **changes)
    message = points(source, rosbags_message)
    return source, point_array(message)


def distances(found: NDArray[Any]) -> NDArray[Any]:
    """Distance of each measured point from the plane, metres."""
    xyz = np.stack([found["x"], found["y"], found["z"]], -1).astype(float)
    measured = np.isfinite(xyz).all(-1)
    assert measured.mean() > 0.5
    return np.abs(xyz[measured] @ NORMAL - DISTANCE) / np.linalg.norm(NORMAL)


@pytest.mark.parametrize("size", [(48, 64), (24, 32), (15, 20), (96, 128), (50, 70)])
def test_a_plane_is_recovered_from_metres_at_any_size_of_the_mask(size: tuple[int, int]) -> None:
    _, found = cloud(plane().astype(np.float32), size)
    assert found.shape == size
    assert distances(found).max() < 1e-5


def test_a_plane_is_recovered_from_millimetres_to_a_millimetre() -> None:
    _, found = cloud((1000 * plane()).round().astype(np.uint16))
    assert distances(found).max() < 0.001


def test_a_depth_image_of_another_size_than_the_camera_image_keeps_its_own_geometry() -> None:
    double = plane(96, 128, scale=2.0).astype(np.float32)
    _, found = cloud(double, info=intrinsics(128, 96, scale=2.0))
    assert distances(found).max() < 1e-5


def test_intrinsics_of_another_size_than_the_depth_image_are_scaled() -> None:
    _, found = cloud(plane().astype(np.float32), info=intrinsics(128, 96, scale=2.0))
    assert distances(found).max() < 1e-5


def test_without_a_projection_matrix_the_camera_matrix_counts() -> None:
    info = intrinsics()
    info.p = np.zeros(12)
    _, found = cloud(plane().astype(np.float32), info=info)
    assert distances(found).max() < 1e-5


def test_each_pixel_of_the_mask_has_its_point_with_class_confidence_and_colour_of_the_overlay() -> None:
    source, found = cloud(plane().astype(np.float32))
    np.testing.assert_array_equal(found["class_id"], source.labels)
    np.testing.assert_allclose(found["confidence"], source.confidence / 255, atol=1e-6)
    packed = np.ascontiguousarray(found["rgb"]).view("<u4")
    rgb = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], -1)
    np.testing.assert_array_equal(rgb, source.blend)


def test_probabilities_and_large_class_ids_are_kept() -> None:
    labels = np.full((48, 64), 65535, np.uint16)
    confidence = np.full((48, 64), 0.123, np.float32)
    _, found = cloud(plane().astype(np.float32), labels=labels, confidence=confidence)
    assert set(found["class_id"].ravel()) == {65535}
    assert set(found["confidence"].ravel()) == {np.float32(0.123)}


def test_points_without_a_measurement_are_nan_and_keep_their_place() -> None:
    values = plane().astype(np.float32)
    values[10:20, 30:40] = 0.0
    _, found = cloud(values)
    missing = np.zeros((48, 64), bool)
    missing[10:20, 30:40] = True
    missing |= plane() == 0
    for name in ("x", "y", "z"):
        np.testing.assert_array_equal(np.isnan(found[name]), missing)


@pytest.mark.parametrize("new", [rosbags_message, rclpy_message])
def test_the_cloud_is_organised_and_under_the_header_of_the_image(new: Any) -> None:
    view = DepthView(TOPIC, depth_image(plane().astype(np.float32), new=new), intrinsics(new=new))
    message = points(segmented(view, (24, 32), new=new), new)
    assert (message.height, message.width, message.is_dense, message.is_bigendian) == (24, 32, False, False)
    assert message.row_step == 32 * message.point_step
    assert len(message.data) == 24 * message.row_step
    assert (message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id) == (5, 7, "camera")
    assert fields_of(message) == {
        "x": "<f4", "y": "<f4", "z": "<f4", "rgb": "<f4", "confidence": "<f4", "class_id": "|u1",
    }  # fmt: skip


def test_without_a_depth_camera_there_is_no_cloud() -> None:
    assert points(segmented(None), rosbags_message) is None


def flat() -> Any:
    info = intrinsics()
    info.k, info.p = np.zeros(9), np.zeros(12)
    return info


GOOD = np.ones((48, 64), np.float32)
WRONG = {
    "no depth image": (None, intrinsics(), "no depth image for the camera image"),
    "no camera_info": (depth_image(GOOD), None, "no camera_info of the depth images"),
    "no focal length": (depth_image(GOOD), flat(), "camera_info without a focal length"),
    "camera_info of other proportions": (
        depth_image(GOOD), intrinsics(64, 64), "camera_info of other proportions.* got 64x64, expected the .* of 64x48"
    ),
    "another frame": (
        depth_image(GOOD, "depth_camera"), intrinsics(), "got 'depth_camera', expected 'camera'. Take the depth topic"
    ),
    "other proportions": (
        depth_image(np.ones((64, 64), np.float32)), intrinsics(), "got 64x64, expected the proportions of 64x48"
    ),
    "another encoding": (
        rosbags_message("sensor_msgs/msg/Image", **(vars(depth_image(GOOD)) | {"encoding": "rgb8"})), intrinsics(),
        "not the encoding of a depth image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_depth_camera_that_does_not_fit_is_refused_with_the_reason(wrong: str) -> None:
    image, info, words = WRONG[wrong]
    with pytest.raises(ImageError, match=words):
        points(segmented(DepthView(TOPIC, image, info)), rosbags_message)
