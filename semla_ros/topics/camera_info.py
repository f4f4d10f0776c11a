"""The camera's intrinsics, scaled to the size of the published mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.topics.messages import NewMessage
from semla_ros.topics.sources import SegmentedImage

KIND = "sensor_msgs/msg/CameraInfo"


def camera_info(source: SegmentedImage, new: NewMessage) -> Any:
    """The camera's sensor_msgs/CameraInfo for the mask's size, under the image's header; None without intrinsics.

    Focal lengths, the principal point and the baseline scale with the size of the image, x with the width and y with
    the height. The distortion coefficients do not depend on the size.
    """
    info = source.camera_info
    if info is None or not (info.width and info.height):
        return None
    (height, width), roi = source.labels.shape, info.roi
    x, y = width / info.width, height / info.height
    region = new(
        "sensor_msgs/msg/RegionOfInterest", x_offset=_within(width, roi.x_offset * x),
        y_offset=_within(height, roi.y_offset * y), width=_within(width, roi.width * x),
        height=_within(height, roi.height * y), do_rectify=roi.do_rectify,
    )  # fmt: skip
    scale = np.array([x, y, 1.0])[:, None]
    return new(
        KIND, header=source.header, height=height, width=width, distortion_model=info.distortion_model,
        d=np.array(info.d, np.float64), k=_scaled(info.k, scale), r=np.array(info.r, np.float64),
        p=_scaled(info.p, scale), binning_x=info.binning_x, binning_y=info.binning_y, roi=region,
    )  # fmt: skip


def _within(size: int, value: float) -> int:
    """A rounded coordinate, at most the size of the mask: a wrong region must not cost the image."""
    return min(round(value), size)


def _scaled(matrix: Any, scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """A flat matrix of three rows, each row multiplied by its scale."""
    rows: NDArray[np.float64] = np.array(matrix, np.float64).reshape(3, -1) * scale
    return rows.reshape(-1)
