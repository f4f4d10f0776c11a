"""How the node is doing, once a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from std_msgs.msg import Header

from semla_ros.node import messages
from semla_ros.node.statistics import Statistics
from semla_ros.node.subscription import ImageSubscription

OK, WARN = 0, 1


class Diagnostics:
    """Publishes /diagnostics.

    Args:
        node: Who reports.
        publishers: The node's publishers, checked for subscribers they cannot serve.
        subscription: The camera's subscription.
        statistics: What became of the frames.
    """

    def __init__(
        self, node: Node, publishers: Sequence[Any], subscription: ImageSubscription, statistics: Statistics
    ) -> None:
        self._node = node
        self._publishers = publishers
        self._subscription = subscription
        self._statistics = statistics
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def report(self, state: str, silent: str | None) -> None:
        """Publishes one report.

        Args:
            state: The node's lifecycle state.
            silent: Why no image comes in, where none does.
        """
        incompatible = self._incompatible()
        values = {
            "state": state,
            **self._subscription.key_values(),
            **self._statistics.key_values(),
            "incompatible_qos": "; ".join(incompatible),
            **resources(),
        }
        level, text = self._summary(state, silent, incompatible)
        status = messages.status(level, f"{self._node.get_name()}: segmentation", text, values, values["device"])
        self._publisher.publish(_array(self._node, status))

    def _summary(self, state: str, silent: str | None, incompatible: list[str]) -> tuple[int, str]:
        if self._statistics.failing:
            return WARN, f"frames fail: {self._statistics.last_error}"
        if silent:
            return WARN, silent
        if incompatible:
            return WARN, "incompatible QoS: " + "; ".join(incompatible)
        return OK, f"{self._statistics.fps:.1f} frames a second" if state == "active" else state

    def _incompatible(self) -> list[str]:
        found = self._subscription.incompatible()
        for publisher in self._publishers:
            for each in self._node.get_subscriptions_info_by_topic(publisher.topic_name):
                verdict, why = qos_check_compatible(publisher.qos_profile, each.qos_profile)
                if verdict == QoSCompatibility.ERROR:
                    found.append(f"{publisher.topic_name} to {each.node_name}: {why}")
        return found


def resources() -> dict[str, str]:
    """Device and memory in use."""
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    values = {"device": "cpu", "memory_mb": f"{resident / 1e6:.0f}"}
    torch: Any = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.memory_allocated():
        gpu = f"{torch.cuda.memory_allocated() / 1e6:.0f}"
        values |= {"device": f"cuda: {torch.cuda.get_device_name()}", "gpu_memory_mb": gpu}
    return values


def _array(node: Node, status: DiagnosticStatus) -> DiagnosticArray:
    return DiagnosticArray(header=Header(stamp=node.get_clock().now().to_msg()), status=[status])
