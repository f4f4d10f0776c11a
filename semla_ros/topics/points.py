"""The segmented point cloud: one point for each pixel of the mask."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError
from semla_ros.images.depth import depth_values, metres
from semla_ros.topics.messages import NewMessage
from semla_ros.topics.sources import DepthView, SegmentedImage

KIND = "sensor_msgs/msg/PointCloud2"
UINT8, UINT16, FLOAT32 = 2, 4, 7  # datatypes of sensor_msgs/PointField
POINT_STEP = 24  # bytes
LARGEST_STRETCH = 0.01  # difference of the proportions of depth image, camera image and camera_info


def points(source: SegmentedImage, new: NewMessage) -> Any:
    """The organised sensor_msgs/PointCloud2 of a mask; None without a depth camera.

    The cloud has the height and width of the mask. Point (v, u) has the class and the confidence of the mask's pixel
    (v, u), and the position that the depth camera has measured there, in the frame of the camera (x right, y down, z
    forward, metres). Where it has measured nothing, x, y and z are NaN. The colour is that of the overlay.

    Raises:
        ImageError: There is no depth image of the time of the camera image or no camera_info, the depth image cannot be
            decoded, or it is not aligned with the camera image.
    """
    if source.depth is None:
        return None
    _check_alignment(source, source.depth)
    xyz = positions(depth_values(source.depth.image), source.depth.camera_info, source.labels.shape)
    cloud = _packed(source, xyz)
    fields = [
        new("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=datatype, count=1)
        for name, (datatype, offset) in _layout(source).items()
    ]
    height, width = source.labels.shape
    return new(
        KIND, header=source.header, height=height, width=width, fields=fields, is_bigendian=False,
        point_step=POINT_STEP, row_step=width * POINT_STEP, data=cloud.view(np.uint8).reshape(-1), is_dense=False,
    )  # fmt: skip


def positions(values: NDArray[Any], info: Any, size: tuple[int, ...]) -> tuple[NDArray[np.float32], ...]:
    """Back-projects a depth image by the pinhole model.

    Args:
        values: Depth image (H, W), millimetres (uint16) or metres (float32).
        info: sensor_msgs/CameraInfo of the depth camera. Depth images are rectified: P counts (K if P is zero), and the
            distortion coefficients do not.
        size: Height and width of the cloud. A pixel of the mask takes the nearest pixel of the depth image.

    Returns:
        x, y and z, each (height, width) float32, metres; NaN where nothing was measured.

    Raises:
        ImageError: The intrinsics have no focal length, or are those of an image of other proportions.
    """
    rows, columns = (np.arange(n) * side // n for n, side in zip(size, values.shape, strict=True))
    z = metres(values if values.shape == size else values[np.ix_(rows, columns)])
    (fx, cx), (fy, cy) = _intrinsics(info, values.shape)
    x = z * ((columns - cx) / fx).astype(np.float32)
    y = z * ((rows - cy) / fy).astype(np.float32)[:, None]
    return x, y, z


def _intrinsics(info: Any, size: tuple[int, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Focal length and principal point, for x and for y, scaled to the size (height, width) of the depth image."""
    matrix = np.array(info.p, float).reshape(3, 4) if any(info.p) else np.array(info.k, float).reshape(3, 3)
    width, height = info.width or size[1], info.height or size[0]
    if _proportions_differ(size, (height, width)):
        raise ImageError(
            "camera_info of other proportions than the depth image",
            got=f"{width}x{height}", expected=f"the proportions of {size[1]}x{size[0]}",
        )  # fmt: skip
    scale_x, scale_y = size[1] / width, size[0] / height
    if not (matrix[0, 0] and matrix[1, 1]):
        raise ImageError("camera_info without a focal length", got=f"{matrix[0, 0]:g}, {matrix[1, 1]:g}")
    return (matrix[0, 0] * scale_x, matrix[0, 2] * scale_x), (matrix[1, 1] * scale_y, matrix[1, 2] * scale_y)


def _check_alignment(source: SegmentedImage, depth: DepthView) -> None:
    """Checks that there is a depth image that shows the same view as the camera image.

    Raises:
        ImageError: There is none.
    """
    if depth.image is None:
        expected = "one whose stamp differs from the camera image's by depth_tolerance_s at most"
        raise ImageError("no depth image for the camera image", where=depth.topic, expected=expected)
    if depth.camera_info is None:
        hint = "The driver publishes it beside the depth images."
        raise ImageError("no camera_info of the depth images", where=depth.topic, hint=hint)
    hint = "Take the depth topic that the driver aligns with (registers to) the colour camera."
    frames = depth.image.header.frame_id, source.header.frame_id
    if frames[0] != frames[1]:
        raise ImageError(
            "depth image of another frame_id than the camera image",
            where=depth.topic, got=repr(frames[0]), expected=repr(frames[1]), hint=hint,
        )  # fmt: skip
    (high, wide), (height, width) = (depth.image.height, depth.image.width), source.rgb.shape[:2]
    if _proportions_differ((high, wide), (height, width)):
        raise ImageError(
            "depth image of other proportions than the camera image",
            where=depth.topic, got=f"{wide}x{high}", expected=f"the proportions of {width}x{height}", hint=hint,
        )  # fmt: skip


def _proportions_differ(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes (height, width) have other proportions by more than `LARGEST_STRETCH`."""
    return abs(one[0] * other[1] - one[1] * other[0]) > LARGEST_STRETCH * one[1] * other[0]


def _layout(source: SegmentedImage) -> dict[str, tuple[int, int]]:
    """Datatype and offset of each field. The names x, y, z and rgb are those that PCL, rviz and Nav2 look for."""
    return {
        "x": (FLOAT32, 0),
        "y": (FLOAT32, 4),
        "z": (FLOAT32, 8),
        "rgb": (FLOAT32, 12),  # its bytes are blue, green, red, 0
        "confidence": (FLOAT32, 16),
        "class_id": (UINT8 if source.labels.dtype == np.uint8 else UINT16, 20),
    }


def _packed(source: SegmentedImage, xyz: tuple[NDArray[np.float32], ...]) -> NDArray[np.float32]:
    """The points as the bytes of an array (height, width, 6) float32."""
    color = cv2.cvtColor(source.blend, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & 0xFFFFFF
    confidence = source.confidence
    if confidence.dtype == np.uint8:
        confidence = confidence * np.float32(1 / 255)
    class_id = source.labels.astype("<u4")
    # OpenCV interleaves the channels four times as fast as NumPy writes them one after the other.
    return np.asarray(cv2.merge([*xyz, color.view("<f4"), confidence, class_id.view("<f4")]))
