"""What output messages are made from: a segmented image, the list of classes, or the domain state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.config import OutputConfig
from semla_ros.images import conversion, panoptic
from semla_ros.images.classes import ClassInfo, Labels
from semla_ros.images.panoptic import Segments
from semla_ros.topics.domain import key_values, level_and_message

if TYPE_CHECKING:
    from semla_ros.pipeline.domain_state import DomainState
    from semla_ros.pipeline.result import SegmentationResult


@dataclass(frozen=True, eq=False)
class DepthView:
    """What the depth camera has sent for a camera image.

    Attributes:
        topic: Full name of the topic of the depth images.
        image: Depth image with the nearest stamp, sensor_msgs/Image; None if there is none within the tolerance.
        camera_info: sensor_msgs/CameraInfo of the depth camera; None if it is not known.
    """

    topic: str
    image: Any = None
    camera_info: Any = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the depth images, and so of the depth camera's point cloud; None if not known yet."""
        known = self.image or self.camera_info
        return (known.height, known.width) if known and known.height and known.width else None


@dataclass(frozen=True, eq=False)
class SegmentedImage:
    """One segmentation result at the size and in the encoding in which it is published.

    Attributes:
        header: std_msgs/Header of the camera image. All messages made from this object carry it.
        rgb: Camera image at its full size, (H, W, 3) uint8.
        labels: Class ids, (h, w) uint8 or uint16.
        confidence: round(255 p), (h, w) uint8; or p, (h, w) float32.
        classes: The segmenter's classes.
        overlay_opacity: Opacity of the class colours in the overlay, 0 to 1.
        support: Support score of the active mixture (paper, Eq. 15); NaN before the first embedding.
        camera_info: sensor_msgs/CameraInfo of the camera; None if it is not known.
        depth: Depth image and intrinsics; None without a depth camera.
        segments: Objects told apart, (h, w); None if the segmenter does not do that.
    """

    header: Any
    rgb: NDArray[np.uint8]
    labels: Labels
    confidence: NDArray[np.uint8] | NDArray[np.float32]
    classes: Sequence[ClassInfo]
    overlay_opacity: float
    support: float
    camera_info: Any = None
    depth: DepthView | None = None
    segments: Segments | None = None

    @classmethod
    def of(
        cls,
        result: SegmentationResult,
        header: Any,
        classes: Sequence[ClassInfo],
        config: OutputConfig,
        camera_info: Any = None,
        depth: DepthView | None = None,
    ) -> SegmentedImage:
        """Scales and encodes a result as the settings ask.

        Labels, confidence and segments are scaled by nearest neighbour: every published pixel is a pixel of the result.
        """
        labels, confidence, segments = result.labels, result.confidence, result.segments
        size = output_size(labels.shape[0], labels.shape[1], config, depth.size if depth else None)
        if size != labels.shape:
            labels = resized(labels, size, cv2.INTER_NEAREST)
            confidence = resized(confidence, size, cv2.INTER_NEAREST)
            segments = segments and Segments(
                resized(segments.classes, size, cv2.INTER_NEAREST), resized(segments.instances, size, cv2.INTER_NEAREST)
            )
        encoded = conversion.to_mono8(confidence) if config.confidence_encoding == "mono8" else confidence
        support = result.domain.support
        rgb, opacity = result.frame.rgb, config.overlay_opacity
        return cls(header, rgb, labels, encoded, classes, opacity, support, camera_info, depth, segments)

    @cached_property
    def blend(self) -> NDArray[np.uint8]:
        """Camera image with the colours of the classes and outlines of instances, (h, w, 3) uint8, RGB."""
        size = self.labels.shape
        rgb = self.rgb if self.rgb.shape[:2] == size else resized(self.rgb, size, cv2.INTER_AREA)
        blend = conversion.overlay(rgb, self.labels, self.classes, self.overlay_opacity)
        if self.segments:
            blend[panoptic.outlines(self.segments.instances)] = 255
        return blend


@dataclass(frozen=True)
class ClassList:
    """The classes of the label images.

    Attributes:
        header: std_msgs/Header; its stamp is the time from which the list is valid.
        classes: The segmenter's classes.
        threshold: Pixels with a lower confidence are unlabelled, 0 to 1.
    """

    header: Any
    classes: Sequence[ClassInfo]
    threshold: float


@dataclass(frozen=True)
class DomainReport:
    """The domain state as a diagnostic status. Two reports are equal if all but their headers is equal.

    Attributes:
        header: std_msgs/Header of the camera image that the state belongs to.
        name: Name of the status, for example "/semla: domain".
        level: 0 (OK) or 1 (WARN).
        message: The state in one line.
        values: The state as pairs of strings, see `semla_ros.topics.domain.key_values`.
    """

    header: Any = field(compare=False)
    name: str
    level: int
    message: str
    values: Mapping[str, str]

    @classmethod
    def of(cls, state: DomainState, header: Any, reporter: str) -> DomainReport:
        """Builds the report.

        Args:
            state: State of the pipeline.
            header: std_msgs/Header of the camera image that the state belongs to.
            reporter: Fully qualified name of the node, for example "/robot_1/semla".
        """
        return cls(header, f"{reporter}: domain", *level_and_message(state), key_values(state))


def output_size(height: int, width: int, config: OutputConfig, cloud: tuple[int, int] | None = None) -> tuple[int, int]:
    """Size of what is published.

    Args:
        height: Height of the camera image, pixels.
        width: Width of the camera image, pixels.
        config: The wanted size. If one side is 0, it follows from the other by the proportions of the camera image.
        cloud: Height and width of the depth camera's point cloud; None if it is not known.

    Returns:
        (height, width) in pixels, at least 1.
    """
    wide, high = config.output_width, config.output_height
    if not wide and not high:
        return cloud if cloud and config.output_size == "cloud" else (height, width)
    return max(1, high or round(height * wide / width)), max(1, wide or round(width * high / height))


def resized(pixels: NDArray[Any], size: tuple[int, ...], interpolation: int) -> NDArray[Any]:
    """Pixels (H, W) or (H, W, C) scaled to ``size`` (height, width) with an interpolation of OpenCV."""
    return np.asarray(cv2.resize(pixels, (size[1], size[0]), interpolation=interpolation))
