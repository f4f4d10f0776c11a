"""The table of all outputs. A new output is one more entry: the live node and the bag writer both read this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semla_ros.topics import camera_info, messages, points
from semla_ros.topics.sources import ClassList, DomainReport, SegmentedImage

MASK, CONFIDENCE = "segmentation/mask", "segmentation/confidence"
COLOR, OVERLAY, CAMERA_INFO = "segmentation/color", "segmentation/overlay", "segmentation/camera_info"
POINTS = "segmentation/points"
LABELS, LABEL_INFO = "segmentation/labels", "segmentation/label_info"
INSTANCES, PANOPTIC = "segmentation/instances", "segmentation/panoptic"
SUPPORT, STATE = "domain/support", "domain/state"

IMAGE, LABEL_INFO_KIND = "sensor_msgs/msg/Image", "vision_msgs/msg/LabelInfo"


@dataclass(frozen=True)
class Topic:
    """One output topic. All topics are reliable.

    Attributes:
        name: Relative topic name, so that a namespace and remapping work.
        kind: Message type, for example "sensor_msgs/msg/Image". If its package is not installed, the topic is left out.
        source: Class of what the messages are made from. One message is made from each object of this class.
        make: Makes the message from a source, with a message factory; None if there is nothing to publish.
        transient_local: Whether a late subscriber receives the last message.
        on_demand: Whether messages are made only while there is a subscriber, or if they are requested for a bag.
        depth: Number of messages that the publisher keeps.
    """

    name: str
    kind: str
    source: type
    make: Callable[[Any, messages.NewMessage], Any]
    transient_local: bool = False
    on_demand: bool = False
    depth: int = 10


TOPICS = (
    Topic(MASK, IMAGE, SegmentedImage, messages.mask),
    Topic(CONFIDENCE, IMAGE, SegmentedImage, messages.confidence),
    Topic(COLOR, IMAGE, SegmentedImage, messages.color, on_demand=True),
    Topic(OVERLAY, IMAGE, SegmentedImage, messages.overlay, on_demand=True),
    Topic(INSTANCES, IMAGE, SegmentedImage, messages.instances),
    Topic(PANOPTIC, IMAGE, SegmentedImage, messages.panoptic_ids),
    Topic(CAMERA_INFO, camera_info.KIND, SegmentedImage, camera_info.camera_info),
    # More than a few clouds would fill the shared memory of the Fast DDS profile.
    Topic(POINTS, points.KIND, SegmentedImage, points.points, on_demand=True, depth=2),
    Topic(SUPPORT, "std_msgs/msg/Float32", SegmentedImage, messages.support),
    Topic(LABELS, "std_msgs/msg/String", ClassList, messages.labels, transient_local=True, depth=1),
    Topic(LABEL_INFO, LABEL_INFO_KIND, ClassList, messages.label_info, transient_local=True, depth=1),
    Topic(STATE, "diagnostic_msgs/msg/DiagnosticArray", DomainReport, messages.state, transient_local=True, depth=1),
)
