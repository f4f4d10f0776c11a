"""How the node is doing, once a second."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from std_msgs.msg import Header

from semla_ros.machine import resident_mib
from semla_ros.node import messages
from semla_ros.node.compatibility import conflicts
from semla_ros.node.statistics import Statistics
from semla_ros.node.subscription import ImageSubscription

OK, WARN = 0, 1


class Diagnostics:
    """Publishes /diagnostics.

    Args:
        node: Who reports.
        topics: What the node publishes, watched for subscribers that hear nothing.
        subscription: The camera's subscription.
        statistics: What became of the frames.
    """

    def __init__(
        self, node: Node, topics: Sequence[str], subscription: ImageSubscription, statistics: Statistics
    ) -> None:
        self._node = node
        self._topics = topics
        self._subscription = subscription
        self._statistics = statistics
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def report(self, state: str, silent: str | None) -> None:
        """Publishes one report.

        Args:
            state: The node's lifecycle state.
            silent: Why no image comes in, where none does.
        """
        camera = self._subscription.key_values()
        topics = filter(None, (camera["image_topic"], *self._topics))
        incompatible = [conflict for topic in topics for conflict in conflicts(self._node, topic)]
        values = {
            "state": state,
            **camera,
            **self._statistics.key_values(),
            "incompatible_qos": "; ".join(incompatible),
            **resources(),
        }
        level, text = self._summary(state, silent, incompatible)
        status = messages.status(level, f"{self._node.get_name()}: segmentation", text, values, values["device"])
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._publisher.publish(DiagnosticArray(header=header, status=[status]))

    def _summary(self, state: str, silent: str | None, incompatible: list[str]) -> tuple[int, str]:
        if self._statistics.alarming:
            return WARN, self._statistics.last_error
        if silent:
            return WARN, silent
        if incompatible:
            return WARN, "incompatible QoS: " + "; ".join(incompatible)
        return OK, f"{self._statistics.fps:.1f} frames a second" if state == "active" else state


def resources() -> dict[str, str]:
    """Device and memory in use."""
    values = {"device": "cpu", "memory_mb": f"{resident_mib() * 2**20 / 1e6:.0f}"}
    torch: Any = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.memory_allocated():
        gpu = f"{torch.cuda.memory_allocated() / 1e6:.0f}"
        values |= {"device": f"cuda: {torch.cuda.get_device_name()}", "gpu_memory_mb": gpu}
    return values
