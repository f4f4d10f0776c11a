"""The subscription to the camera, with the reliability that its publishers offer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node, SubscriptionEventCallbacks  # type: ignore[attr-defined]  # its module's name varies by distribution
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from semla_ros.config import RELIABILITIES, NodeConfig
from semla_ros.errors import ConfigError
from semla_ros.node.settings import qos_overrides_checked
from semla_ros.topics.messages import stamp_ns

# Length of the middleware's queue. A message that a newer one replaces there is not reported. With more than one place,
# short bursts reach the node, which counts the messages that it drops; the worker takes the newest one only.
DEPTH = 5


class ImageSubscription:
    """Subscribes to images, and again when the transport or the reliability of the publishers changes.

    Args:
        node: The node that subscribes.
        receive: Called with the name of the topic and the message.
        image: Name of the topic of raw images.

    Attributes:
        lag_s: Time of arrival of the last image, by the monotonic clock, less its stamp, seconds; None without a stamp.

    Raises:
        ConfigError: Another camera subscribes to that topic.
    """

    def __init__(self, node: Node, receive: Callable[[str, Any], None], image: str = "image") -> None:
        self._node = node
        self._image = image
        self._receive = receive
        self._subscription: Any = None
        self._last_image_s = time.monotonic()
        self.lag_s: float | None = None
        description = ParameterDescriptor(description="auto, reliable or best_effort", read_only=True)
        for topic in map(self._topic_name, ("raw", "compressed")):
            if self._node.has_parameter(_override(topic)):
                hint = "Remap the image topic of each camera to one of its own."
                raise ConfigError("two cameras with the same topic", where="cameras", got=topic, hint=hint)
            # The standard override. rclpy would declare it with one fixed value, but here it may stay automatic.
            self._node.declare_parameter(_override(topic), "auto", description)

    def check(self, config: NodeConfig) -> None:
        """Checks the QoS override of the topic that the settings name.

        Raises:
            ConfigError: Its value is not one of `RELIABILITIES`.
        """
        name = _override(self._topic_name(config.image_transport))
        value = self._node.get_parameter(name).value
        if value not in RELIABILITIES:
            raise ConfigError("no such reliability", where=name, got=value, expected=" | ".join(RELIABILITIES))

    def subscribe_as_offered(self, config: NodeConfig) -> None:
        """Subscribes with the transport of the settings and the reliability of the publishers.

        A subscription that has both already is kept.

        Raises:
            ConfigError: A QoS override of the topic is wrong; the present subscription stays.
        """
        self.check(config)
        topic = self._topic_name(config.image_transport)
        kind = CompressedImage if config.image_transport == "compressed" else Image
        reliability = self._reliability(topic, config)
        current = self._subscription
        if current is None or (current.msg_type, current.qos_profile.reliability) != (kind, reliability):
            new = self._subscribe(topic, kind, reliability)
            self.close()
            self._subscription = new

    def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def silence_s(self) -> float:
        """Seconds since the last image, or since the subscription began; 0 without a subscription."""
        return time.monotonic() - self._last_image_s if self._subscription else 0.0

    def key_values(self) -> dict[str, str]:
        """Topic and reliability of the subscription for a diagnostic message; empty without one."""
        if self._subscription is None:
            return {"image_topic": "", "image_reliability": ""}
        reliability = self._subscription.qos_profile.reliability.name.lower()
        return {"image_topic": self._subscription.topic_name, "image_reliability": reliability}

    def waiting_for(self) -> str:
        """Describes the topic without images: its name, and publishers that fit, or else what others offer."""
        wanted = "no image on {image_topic} ({image_reliability})".format(**self.key_values())
        offers = self._node.get_publishers_info_by_topic(self._subscription.topic_name)
        if not offers:
            return f"{wanted}: it has no publisher"
        if fitting := [each.node_name for each in offers if self._fits(each)]:
            return f"{wanted}: its publisher sends none ({', '.join(fitting)})"
        return f"{wanted}: offered are " + "; ".join(
            f"{each.topic_type}, {each.qos_profile.reliability.name.lower()} by {each.node_name}" for each in offers
        )

    def _fits(self, publisher: Any) -> bool:
        """Whether messages of a publisher reach the subscription."""
        asked, offered = self._subscription.qos_profile.reliability, publisher.qos_profile.reliability
        is_of_type: bool = publisher.topic_type == f"sensor_msgs/msg/{self._subscription.msg_type.__name__}"
        return is_of_type and (asked != ReliabilityPolicy.RELIABLE or offered == ReliabilityPolicy.RELIABLE)

    def _topic_name(self, transport: str) -> str:
        topic = str(self._node.resolve_topic_name(self._image))
        return f"{topic}/compressed" if transport == "compressed" else topic

    def _reliability(self, topic: str, config: NodeConfig) -> ReliabilityPolicy:
        """Reliability by QoS override, else by ``image_reliability``, else that of the publishers."""
        wanted = self._node.get_parameter(_override(topic)).value
        if wanted == "auto":
            wanted = config.image_reliability
        if wanted != "auto":
            return ReliabilityPolicy[wanted.upper()]
        return offered_reliability(self._node, topic)

    def _subscribe(self, topic: str, kind: Any, reliability: ReliabilityPolicy) -> Any:
        def on_message(message: Any) -> None:
            self._last_image_s = time.monotonic()
            stamp = stamp_ns(message.header)
            self.lag_s = self._last_image_s - 1e-9 * stamp if stamp else None
            self._receive(topic, message)

        with qos_overrides_checked(topic):
            subscription = self._node.create_subscription(
                kind,
                topic,
                on_message,
                QoSProfile(depth=DEPTH, reliability=reliability),
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)),
            )
        self._last_image_s = time.monotonic()
        return subscription


def offered_reliability(node: Node, topic: str) -> ReliabilityPolicy:
    """The reliability that matches all publishers of a topic: best effort if any of them is best effort."""
    # Without a publisher: reliable. A best-effort publisher that appears does not match this subscription, so no
    # message is lost while it is replaced.
    offers = [each.qos_profile.reliability for each in node.get_publishers_info_by_topic(topic)]
    return ReliabilityPolicy.BEST_EFFORT if ReliabilityPolicy.BEST_EFFORT in offers else ReliabilityPolicy.RELIABLE


def _override(topic: str) -> str:
    return f"qos_overrides.{topic}.subscription.reliability"
