"""The node's report on /diagnostics, once per second."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_msgs.msg import Header

from semla_ros.machine import resident_mib
from semla_ros.node.cameras import Cameras
from semla_ros.node.compatibility import conflicts
from semla_ros.node.statistics import Statistics

OK, WARN = 0, 1


class Diagnostics:
    """Publishes /diagnostics.

    Args:
        node: The node that reports.
        topics: Full names of the node's topics; subscribers with incompatible QoS are reported.
        cameras: The cameras.
        statistics: Counts, latencies and the last error.
    """

    def __init__(self, node: Node, topics: Sequence[str], cameras: Cameras, statistics: Statistics) -> None:
        self._node = node
        self._topics = topics
        self._cameras = cameras
        self._statistics = statistics
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def report(self, state: str, warnings: Sequence[str], values: Mapping[str, str]) -> None:
        """Publishes one report. The status is named after the node's full name, so that robots can run several.

        Args:
            state: Lifecycle state of the node.
            warnings: What is wrong around the node or limits it, such as missing images.
            values: Further details, such as the state of the record of gaps
                (`semla_ros.pipeline.gap_recorder.GapRecorder.key_values`).
        """
        header = Header(stamp=self._node.get_clock().now().to_msg())  # first, so that all figures are newer
        topics = (*self._cameras.image_topics(), *self._topics)
        incompatible = [conflict for topic in topics for conflict in conflicts(self._node, topic)]
        details = {
            "state": state,
            **self._cameras.key_values(),
            **self._statistics.key_values(),
            **values,
            "incompatible_qos": "; ".join(incompatible),
            **resources(),
        }
        problem = values.get("gap_problem")
        level, text = self._summary(state, [*warnings, problem] if problem else warnings, incompatible)
        name = f"{self._node.get_fully_qualified_name()}: segmentation"
        report = status(level, name, text, details, details["device"])
        self._publisher.publish(DiagnosticArray(header=header, status=[report]))

    def _summary(self, state: str, warnings: Sequence[str], incompatible: list[str]) -> tuple[int, str]:
        problems = [self._statistics.last_error, *warnings] if self._statistics.alarming else warnings
        if problems:
            return WARN, "; ".join(problems)
        if incompatible:
            return WARN, "incompatible QoS: " + "; ".join(incompatible)
        return OK, f"{self._statistics.fps:.1f} frames per second" if state == "active" else state


def status(level: int, name: str, message: str, values: Mapping[str, str], hardware: str = "") -> DiagnosticStatus:
    """Creates one diagnostic status with its details.

    Args:
        level: 0 OK, 1 warning, 2 error, 3 stale.
        name: Name of the diagnosed component.
        message: Its state in a few words.
        values: Details.
        hardware: Device that the networks compute on.
    """
    details = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=bytes([level]), name=name, message=message, hardware_id=hardware, values=details)


def resources() -> dict[str, str]:
    """Returns device and memory in use: ``device``, ``memory_mb`` and, on a GPU, ``gpu_memory_mb``."""
    values = {"device": "cpu", "memory_mb": f"{resident_mib() * 2**20 / 1e6:.0f}"}
    torch: Any = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.memory_allocated():
        gpu = f"{torch.cuda.memory_allocated() / 1e6:.0f}"
        values |= {"device": f"cuda: {torch.cuda.get_device_name()}", "gpu_memory_mb": gpu}
    return values
