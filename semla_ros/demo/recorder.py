"""The recorder of the demo: writes the output of the node to an MCAP bag."""

from __future__ import annotations

import importlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Writer

from semla_ros.demo.topics import DIAGNOSTICS, FROM_NODE, MASK, RECORDED, STATE, TRANSIENT_LOCAL
from semla_ros.node.environment import name_prefix
from semla_ros.node.signals import Stopping, run_until_signal
from semla_ros.recordings.writer import STORE, mcap_writer

REPORT_S = 0.1
DEPTH = 1000
CLOSE_S = 60.0


class Recorder:
    """Subscribes to the topics of `RECORDED` and writes the serialized messages with their time of arrival.

    Args:
        node: An rclpy node.
        writer: The open bag.

    Attributes:
        heard: Number of received messages by topic.
        frames: The segmentation node's counts of frames, from its last diagnostics.
    """

    def __init__(self, node: Any, writer: Writer) -> None:
        self.heard = dict.fromkeys(RECORDED, 0)
        self.frames: dict[str, int] = {}
        self._node, self._writer = node, writer
        for topic, kind in RECORDED.items():
            connection = writer.add_connection(topic, kind, typestore=STORE)
            record = partial(self._record, topic, connection)
            node.create_subscription(_message_type(kind), topic, record, _qos(topic), raw=True)
        node.create_timer(REPORT_S, self._report)

    def _record(self, topic: str, connection: Any, data: bytes, info: dict[str, Any]) -> None:
        self._writer.write(connection, info["received_timestamp"], data)
        self.heard[topic] += 1
        if topic == DIAGNOSTICS:
            values = STORE.deserialize_cdr(data, RECORDED[topic]).status[0].values  # type: ignore[attr-defined]
            counts = {each.key: each.value for each in values if each.key.startswith("frames_")}
            self.frames = {name.removeprefix("frames_"): int(count) for name, count in counts.items()}

    def _report(self) -> None:
        """Prints the progress. ``ready`` means that the node has loaded its models and all topics are subscribed."""
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
    with mcap_writer(folder) as writer:
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
