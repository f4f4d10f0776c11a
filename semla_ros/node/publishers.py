"""Everything the node says, topic by topic."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header, String

from semla_ros.images.classes import ClassInfo
from semla_ros.images.conversion import colorize, overlay
from semla_ros.node import messages
from semla_ros.node.output import Output
from semla_ros.node.settings import NodeConfig
from semla_ros.topics.domain import key_values, level_and_message

if TYPE_CHECKING:
    from semla_ros.pipeline.result import DomainState, SegmentationResult

STREAM: dict[str, Any] = {"depth": 10, "reliability": ReliabilityPolicy.RELIABLE}
TRANSIENT_LOCAL: dict[str, Any] = {**STREAM, "depth": 1, "durability": DurabilityPolicy.TRANSIENT_LOCAL}


class Publishers:
    """The node's topics. They are silent until the node is active.

    Args:
        node: Whose topics they are.

    Attributes:
        topics: Their full names.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self.topics: list[str] = []
        self._vision = _vision_messages()
        self._mask = self._advertise(Image, "segmentation/mask", STREAM)
        self._confidence = self._advertise(Image, "segmentation/confidence", STREAM)
        self._color = self._advertise(Image, "segmentation/color", STREAM)
        self._overlay = self._advertise(Image, "segmentation/overlay", STREAM)
        self._labels = self._advertise(String, "segmentation/labels", TRANSIENT_LOCAL)
        if self._vision:
            self._label_info = self._advertise(self._vision.LabelInfo, "segmentation/label_info", TRANSIENT_LOCAL)
        self._support = self._advertise(Float32, "domain/support", STREAM)
        self._domain = self._advertise(DiagnosticArray, "domain/state", TRANSIENT_LOCAL)
        self._state = DiagnosticArray()

    def send(
        self, result: SegmentationResult, header: Header, classes: Sequence[ClassInfo], config: NodeConfig
    ) -> None:
        """Publishes what was seen in one image, under that image's header."""
        output = Output.of(result, config)
        self._mask.publish(messages.image(header, output.labels))
        self._confidence.publish(messages.image(header, output.confidence))
        if self._color.get_subscription_count():
            self._color.publish(messages.image(header, colorize(output.labels, classes)))
        if self._overlay.get_subscription_count():
            blend = overlay(output.rgb, output.labels, classes, config.overlay_opacity)
            self._overlay.publish(messages.image(header, blend))
        if math.isfinite(result.domain.support):
            self._support.publish(Float32(data=result.domain.support))

    def send_classes(self, classes: Sequence[ClassInfo], threshold: float) -> None:
        """Publishes the classes; whoever subscribes later gets them too."""
        self._labels.publish(messages.labels(classes))
        if self._vision:
            header = Header(stamp=self._node.get_clock().now().to_msg())
            self._label_info.publish(messages.label_info(self._vision, header, classes, threshold))

    def send_domain(self, domain: DomainState, header: Header | None = None) -> None:
        """Publishes the domain state where it differs from the one before."""
        level, message = level_and_message(domain)
        name = f"{self._node.get_name()}: domain"
        status = messages.status(level, name, message, key_values(domain))
        if self._state.status != [status]:
            self._state = DiagnosticArray(header=header or self._state.header, status=[status])
            self._domain.publish(self._state)

    def repeat_domain(self) -> None:
        """Publishes the domain state once more."""
        if self._state.status:
            self._domain.publish(self._state)

    def _advertise(self, kind: Any, topic: str, qos: dict[str, Any]) -> Any:
        overridable = QoSOverridingOptions.with_default_policies()
        create = self._node.create_lifecycle_publisher
        publisher = create(kind, topic, QoSProfile(**qos), qos_overriding_options=overridable)
        self.topics.append(publisher.topic_name)
        return publisher


def _vision_messages() -> ModuleType | None:
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:  # no part of ROS from wheels
        return None
