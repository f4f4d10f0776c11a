"""The camera's topic, subscribed as its publishers offer it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node, SubscriptionEventCallbacks  # type: ignore[attr-defined]  # its module's name varies by distribution
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from semla_ros.errors import ConfigError
from semla_ros.node.settings import RELIABILITIES, NodeConfig

# The middleware does not report a message that a newer one replaced in its queue; one that reaches us is counted.
DEPTH = 5


class ImageSubscription:
    """Subscribes images, and subscribes anew where the transport or the publishers' reliability changes.

    Args:
        node: Whose subscription it is.
        receive: Called with each message.
    """

    def __init__(self, node: Node, receive: Callable[[Any], None]) -> None:
        self._node = node
        self._receive = receive
        self._subscription: Any = None
        self._latest = time.monotonic()

    def match(self, config: NodeConfig) -> None:
        """Subscribes what settings and publishers ask for, unless that is subscribed already."""
        topic, kind = self._topic(config)
        reliability = self._reliability(topic, config)
        now = self._subscription
        if now is None or (now.msg_type, now.qos_profile.reliability) != (kind, reliability):
            self.close()
            self._subscription = self._subscribe(topic, kind, reliability)

    def close(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def silence_s(self) -> float:
        """Seconds since the last image, or since there is a subscription; 0 without one."""
        return time.monotonic() - self._latest if self._subscription else 0.0

    def key_values(self) -> dict[str, str]:
        """What is subscribed, as diagnostics want it."""
        if self._subscription is None:
            return {"image_topic": "", "image_reliability": ""}
        reliability = self._subscription.qos_profile.reliability.name.lower()
        return {"image_topic": self._subscription.topic_name, "image_reliability": reliability}

    def waiting_for(self) -> str:
        """Which topic is waited for, and what its publishers offer."""
        wanted = "no image on {image_topic} ({image_reliability})".format(**self.key_values())
        offers = self._node.get_publishers_info_by_topic(self._subscription.topic_name)
        if not offers:
            return f"{wanted}: nobody publishes it"
        return f"{wanted}: offered are " + "; ".join(
            f"{each.topic_type}, {each.qos_profile.reliability.name.lower()} by {each.node_name}" for each in offers
        )

    def _topic(self, config: NodeConfig) -> tuple[str, Any]:
        topic = self._node.resolve_topic_name("image")
        return (f"{topic}/compressed", CompressedImage) if config.image_transport == "compressed" else (topic, Image)

    def _reliability(self, topic: str, config: NodeConfig) -> ReliabilityPolicy:
        wanted = self._override(topic)
        if wanted == "auto":
            wanted = config.image_reliability
        if wanted != "auto":
            return ReliabilityPolicy[wanted.upper()]
        # Without a publisher: reliable. A best-effort one does not match it and loses nothing while we change over.
        offers = [each.qos_profile.reliability for each in self._node.get_publishers_info_by_topic(topic)]
        return ReliabilityPolicy.BEST_EFFORT if ReliabilityPolicy.BEST_EFFORT in offers else ReliabilityPolicy.RELIABLE

    def _override(self, topic: str) -> str:
        """The standard override of this one policy. rclpy would declare it with a fixed value; ours may change."""
        name = f"qos_overrides.{topic}.subscription.reliability"
        if not self._node.has_parameter(name):
            description = ParameterDescriptor(description="auto, reliable or best_effort", read_only=True)
            self._node.declare_parameter(name, "auto", description)
        value = self._node.get_parameter(name).value
        if value not in RELIABILITIES:
            raise ConfigError("no such reliability", where=name, got=value, expected=" | ".join(RELIABILITIES))
        return str(value)

    def _subscribe(self, topic: str, kind: Any, reliability: ReliabilityPolicy) -> Any:
        self._latest = time.monotonic()
        return self._node.create_subscription(
            kind,
            topic,
            self._on_message,
            QoSProfile(depth=DEPTH, reliability=reliability),
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=QoSOverridingOptions((QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)),
        )

    def _on_message(self, message: Any) -> None:
        self._latest = time.monotonic()
        self._receive(message)
