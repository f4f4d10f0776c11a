"""The recorder of the demo: everything the node publishes, as it arrives, into an MCAP bag."""

from __future__ import annotations

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from semla_ros.demo.player import CAMERA_INFO
from semla_ros.node.environment import name_prefix
from semla_ros.node.signals import Stopping, run_until_signal
from semla_ros.recordings.writer import CONFIDENCE, LABELS, MASK, STATE, STORE, SUPPORT, TRANSIENT_LOCAL, TYPES

DIAGNOSTICS = "/diagnostics"
FROM_NODE = {topic: TYPES[topic] for topic in (MASK, CONFIDENCE, LABELS, SUPPORT, STATE)} | {
    DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray"
}
TOPICS = FROM_NODE | {CAMERA_INFO: "sensor_msgs/msg/CameraInfo"}
REPORT_S = 0.1
DEPTH = 1000
CLOSE_S = 60.0


class Recorder:
    """Subscribes to `TOPICS` and writes what comes in, serialized as it is, under its time of arrival.

    Args:
        node: Subscribes; an rclpy node.
        writer: The open bag.

    Attributes:
        heard: Number of messages of each topic.
        frames: The node's own count of its frames, from its newest diagnostics.
    """

    def __init__(self, node: Any, writer: Writer) -> None:
        self.heard = dict.fromkeys(TOPICS, 0)
        self.frames: dict[str, int] = {}
        self._node, self._writer = node, writer
        for topic, kind in TOPICS.items():
            connection = writer.add_connection(topic, kind, typestore=STORE)
            record = partial(self._record, topic, connection)
            node.create_subscription(_message_type(kind), topic, record, _qos(topic), raw=True)
        node.create_timer(REPORT_S, self._report)

    def _record(self, topic: str, connection: Any, data: bytes, info: dict[str, Any]) -> None:
        self._writer.write(connection, info["received_timestamp"], data)
        self.heard[topic] += 1
        if topic == DIAGNOSTICS:
            values = STORE.deserialize_cdr(data, TOPICS[topic]).status[0].values  # type: ignore[attr-defined]
            counts = {each.key: each.value for each in values if each.key.startswith("frames_")}
            self.frames = {name.removeprefix("frames_"): int(count) for name, count in counts.items()}

    def _report(self) -> None:
        """Prints how far it is. ``ready`` when the node has its models and we are subscribed to all it says."""
        all_there = all(self._node.count_publishers(topic) for topic in FROM_NODE)
        ready = all_there and self.heard[STATE] > 0 and self.heard[DIAGNOSTICS] > 0
        print(json.dumps({"ready": ready, "masks": self.heard[MASK], "frames": self.frames}), flush=True)


def main(folder: Path) -> int:
    """Records into the new bag ``folder`` until SIGINT or SIGTERM; the bag is complete when the process ends."""
    return run_until_signal(partial(_run, folder), CLOSE_S)


def _run(folder: Path, stopping: Stopping) -> int:
    name_prefix()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        node = rclpy.create_node("recorder")
        Recorder(node, writer)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stopping():
            executor.spin_once(REPORT_S)
    rclpy.shutdown()
    return 0


def _message_type(kind: str) -> Any:
    module, _, name = kind.rpartition("/")
    return getattr(importlib.import_module(module.replace("/", ".")), name)


def _qos(topic: str) -> Any:
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic in TRANSIENT_LOCAL else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
