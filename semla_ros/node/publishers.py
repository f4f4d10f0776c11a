"""One publisher for each entry of the table of outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from semla_ros.config import NodeConfig
from semla_ros.errors import SemlaError
from semla_ros.images.classes import ClassInfo
from semla_ros.node import message_factory
from semla_ros.node.depth import DepthCamera, NearestImage
from semla_ros.topics import outputs
from semla_ros.topics.outputs import Topic
from semla_ros.topics.sources import ClassList, DepthView, DomainReport, SegmentedImage

if TYPE_CHECKING:
    from semla_ros.pipeline.domain_state import DomainState
    from semla_ros.pipeline.result import SegmentationResult


class Publishers:
    """The node's output topics. Lifecycle publishers send nothing until the node is active.

    Args:
        node: Node that publishes.
        camera_info: Returns the camera's sensor_msgs/CameraInfo; None if it is not known.
        depth: The depth camera; None without one.
        prefix: Beginning of the names of all topics, for example "front/".
        sources: Classes of the sources whose topics are published, see `semla_ros.topics.outputs.Topic`.

    Attributes:
        topics: Full names of all topics.
        class_count: Number of classes published last.
        problem: Why a message could not be made for the last image; empty if all were made.
    """

    def __init__(
        self,
        node: LifecycleNode,
        camera_info: Callable[[], Any] = lambda: None,
        depth: DepthCamera | None = None,
        prefix: str = "",
        sources: tuple[type, ...] = (SegmentedImage, ClassList, DomainReport),
    ) -> None:
        self._node = node
        self._prefix = prefix
        self._camera_info = camera_info
        self._depth = depth
        self.class_count = 0
        self.problem = ""
        self._reporter = " ".join([node.get_fully_qualified_name(), *filter(None, [prefix.rstrip("/")])])
        wanted = [topic for topic in outputs.TOPICS if topic.source in sources]
        known = [topic for topic in wanted if message_factory.message_type(topic.kind)]
        self._publishers = {topic: self._advertise(topic) for topic in known}
        self.topics: list[str] = [publisher.topic_name for publisher in self._publishers.values()]
        self._domain: DomainReport | None = None
        self._repeating = threading.Lock()  # else the timer could publish an older state after a newer one

    def is_subscribed(self, name: str) -> bool:
        """Returns whether there is a subscriber of a topic, named as in `semla_ros.topics.outputs`."""
        publishers = (publisher for topic, publisher in self._publishers.items() if topic.name == name)
        return any(publisher.get_subscription_count() for publisher in publishers)

    def send(
        self,
        result: SegmentationResult,
        header: Header,
        classes: Sequence[ClassInfo],
        config: NodeConfig,
        depth: NearestImage | None = None,
    ) -> None:
        """Publishes the segmentation of one image.

        Args:
            result: Result of the pipeline.
            header: Header of the camera image; all messages carry it.
            classes: Classes of the segmenter.
            config: Size and encoding of the published images.
            depth: What `DepthCamera.search` has returned for the camera image.
        """
        view = self._depth.view(depth, config.depth_tolerance_s) if self._depth else None
        self.problem = size_problem(view) if config.output_size == "cloud" else ""
        self._publish(SegmentedImage.of(result, header, classes, config, self._camera_info(), view))

    def send_classes(self, classes: Sequence[ClassInfo], threshold: float) -> None:
        """Publishes the classes. Later subscribers receive them too."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self.class_count = len(classes)
        self._publish(ClassList(header, classes, threshold))

    def send_domain(self, domain: DomainState, header: Header | None = None) -> None:
        """Publishes the domain state if it has changed.

        Args:
            domain: State of the pipeline.
            header: Header of the image that the state belongs to; by default that of the previous state.
        """
        previous = self._domain.header if self._domain else Header()
        report = DomainReport.of(domain, header or previous, self._reporter)
        if report != self._domain:
            self._domain = report
            self.repeat_domain()

    def repeat_domain(self) -> None:
        """Publishes the last domain state again."""
        with self._repeating:
            if self._domain:
                self._publish(self._domain)

    def _publish(self, source: object) -> None:
        """Publishes all messages that are made from a source.

        One source serves several topics: each entry of `semla_ros.topics.outputs.TOPICS` names the class of its source
        and the function that makes its message.
        """
        for topic, publisher in self._publishers.items():
            if not isinstance(source, topic.source) or (topic.on_demand and not publisher.get_subscription_count()):
                continue
            try:
                message = topic.make(source, message_factory.new)
            except SemlaError as error:  # the other messages are made all the same
                self.problem = f"nothing is published on {publisher.topic_name}: {error}"
                continue
            if message is not None:
                publisher.publish(message)

    def _advertise(self, topic: Topic) -> Any:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.transient_local else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=topic.depth, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        overridable = QoSOverridingOptions.with_default_policies()
        kind = message_factory.message_type(topic.kind)
        return self._node.create_lifecycle_publisher(
            kind, f"{self._prefix}{topic.name}", qos, qos_overriding_options=overridable
        )


def size_problem(view: DepthView | None) -> str:
    """Explains that the size of the point cloud is not known; empty if it is."""
    if view is None or view.size:
        return ""
    return (
        f"output_size is cloud, and neither depth images nor their camera_info have arrived ({view.topic}): "
        "the mask has the size of the camera image"
    )
