"""The camera of the demo: publishes a recorded drive at its original speed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from semla_ros.demo.topics import CAMERA_INFO, IMAGE
from semla_ros.node.environment import name_prefix
from semla_ros.node.signals import Stopping, run_until_signal

MATCH_S, ACKNOWLEDGE_S = 120.0, 60.0


def main(bag: Path) -> int:
    """Publishes the images and camera_info of a bag with their stamps, as soon as both topics have a subscriber.

    Prints ``{"sent": <number of images>}`` after each image. SIGINT and SIGTERM end it.

    Returns:
        Exit code: 0, or 1 if the topics had no subscribers within `MATCH_S` seconds.
    """
    return run_until_signal(partial(_run, bag))


def _run(bag: Path, stopping: Stopping) -> int:
    name_prefix()
    import rclpy
    from rclpy.duration import Duration
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.signals import SignalHandlerOptions
    from sensor_msgs.msg import CameraInfo, Image

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.RELIABLE)
    publishers = {
        CAMERA_INFO: node.create_publisher(CameraInfo, CAMERA_INFO, qos),
        IMAGE: node.create_publisher(Image, IMAGE, qos),
    }
    if not _heard(publishers, stopping):
        print(f"no subscribers of {IMAGE} and {CAMERA_INFO}", file=sys.stderr)
        return 1
    for sent, messages in enumerate(_paced(bag), start=1):
        if stopping():
            break
        for topic, publisher in publishers.items():  # camera_info first: its arrival marks the sending of the image
            publisher.publish(messages[topic])
        print(json.dumps({"sent": sent}), flush=True)
    publishers[IMAGE].wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_S))
    rclpy.shutdown()
    return 0


def _heard(publishers: dict[str, Any], stopping: Stopping) -> bool:
    end = time.monotonic() + MATCH_S
    while time.monotonic() < end and not stopping():
        if all(publisher.get_subscription_count() for publisher in publishers.values()):
            return True
        time.sleep(0.05)
    return False


def _paced(bag: Path) -> Iterator[dict[str, bytes]]:
    """Yields the serialized messages of each stamp by topic, at the time given by the stamps."""
    with AnyReader([bag]) as reader:
        wanted = [each for each in reader.connections if each.topic in (IMAGE, CAMERA_INFO)]
        first_ns, begin = reader.start_time, time.monotonic()
        for stamp_ns, messages in groupby(reader.messages(wanted), key=lambda message: message[1]):
            serialized = {connection.topic: bytes(data) for connection, _, data in messages}
            time.sleep(max(0.0, begin + 1e-9 * (stamp_ns - first_ns) - time.monotonic()))
            yield serialized


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
