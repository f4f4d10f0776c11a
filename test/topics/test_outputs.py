"""The table of outputs is the only place that names an output: node and bag follow it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_kinds import blob_bundle
from rosbags.highlevel import AnyReader

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import OutputConfig
from semla_ros.images.classes import class_table
from semla_ros.images.frame import Frame
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.result import SegmentationResult
from semla_ros.recordings.writer import result_bag
from semla_ros.topics import outputs
from semla_ros.topics.messages import NewMessage
from semla_ros.topics.outputs import Topic
from semla_ros.topics.sources import DomainReport, SegmentedImage

CLASSES = class_table(("road", "sky"))
LIMIT_S = 60.0


def mean_confidence(source: SegmentedImage, new: NewMessage) -> Any:
    return new("std_msgs/msg/Float32", data=float(source.confidence.mean()))


ANOTHER = Topic("segmentation/mean_confidence", "std_msgs/msg/Float32", SegmentedImage, mean_confidence)
UNKNOWN = Topic("segmentation/unknown", "no_such_package/msg/Unknown", SegmentedImage, mean_confidence)


def result() -> SegmentationResult:
    pixels = np.zeros((4, 6), np.uint8)
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 1_000_000_007, "camera")
    state = DomainState(Mixture(("day",), (1.0,), (5.0,), 0.2), support=0.5)
    return SegmentationResult(frame, pixels, np.full((4, 6), 1.0, np.float32), state, {})


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more entry in the table, and one whose message type is installed nowhere."""
    monkeypatch.setattr(outputs, "TOPICS", (*outputs.TOPICS, ANOTHER, UNKNOWN))


@pytest.fixture
def robot() -> Iterator[tuple[Any, Any]]:
    """An active lifecycle node in a namespace and a function that waits for a message of a topic."""
    pytest.importorskip("rclpy")
    from live.process import free_domain

    from semla_ros.node.environment import name_prefix

    name_prefix()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.lifecycle import LifecycleNode

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=free_domain())
    node = LifecycleNode("semla", namespace="/robot_1", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def next_message(topic: str, kind: Any, publish: Any) -> Any:
        """Publishes until a message of the topic arrives."""
        heard: list[Any] = []
        subscription = node.create_subscription(kind, topic, heard.append, 10)
        end = time.monotonic() + LIMIT_S
        while not heard:
            assert time.monotonic() < end, f"no message on {topic} within {LIMIT_S} s"
            publish()
            executor.spin_once(0.1)
        node.destroy_subscription(subscription)
        return heard[0]

    try:
        yield node, next_message
    finally:
        executor.shutdown()
        node.destroy_node()
        context.shutdown()


@pytest.mark.usefixtures("another")
def test_another_entry_is_written_to_the_bag(tmp_path: Path) -> None:
    with result_bag(tmp_path / "bag", CLASSES) as bag:
        bag.write(result())
    with AnyReader([tmp_path / "bag"]) as reader:
        connections = [each for each in reader.connections if each.topic == "/semla/segmentation/mean_confidence"]
        ((connection, stamp_ns, data),) = reader.messages(connections)
        message: Any = reader.deserialize(data, connection.msgtype)
        assert not [each for each in reader.connections if each.topic.endswith("unknown")]
    assert (stamp_ns, message.data) == (1_000_000_007, 255.0)


@pytest.mark.live
@pytest.mark.usefixtures("another")
def test_another_entry_is_published_by_the_node(robot: tuple[Any, Any]) -> None:
    from std_msgs.msg import Float32, Header

    from semla_ros.node.publishers import Publishers

    node, next_message = robot
    publishers = Publishers(node)
    node.trigger_configure()
    node.trigger_activate()
    message = next_message(
        "segmentation/mean_confidence",
        Float32,
        lambda: publishers.send(result(), Header(), CLASSES, OutputConfig()),
    )
    assert message.data == 255.0
    assert "/robot_1/segmentation/mean_confidence" in publishers.topics
    assert "/robot_1/segmentation/unknown" not in publishers.topics


@pytest.mark.live
def test_the_domain_state_names_the_namespace_of_its_node(robot: tuple[Any, Any]) -> None:
    from diagnostic_msgs.msg import DiagnosticArray

    from semla_ros.node.publishers import Publishers

    node, next_message = robot
    publishers = Publishers(node)
    node.trigger_configure()
    node.trigger_activate()
    publishers.send_domain(DomainState())
    message = next_message("domain/state", DiagnosticArray, publishers.repeat_domain)
    assert message.status[0].name == "/robot_1/semla: domain"


@pytest.mark.live
def test_an_older_domain_state_is_never_published_after_a_newer_one(
    robot: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timer repeats the state in one thread while a frame changes it in another."""
    from semla_ros.node.publishers import Publishers

    publishers = Publishers(robot[0], sources=(DomainReport,))
    publishers.send_domain(DomainState())
    published: list[DomainReport] = []
    begun, go = threading.Event(), threading.Event()

    def publish(report: DomainReport) -> None:
        if report.values["swaps"] == "0":
            begun.set()
            go.wait(LIMIT_S)
        published.append(report)

    monkeypatch.setattr(publishers, "_publish", publish)
    repeat = threading.Thread(target=publishers.repeat_domain)
    change = threading.Thread(target=publishers.send_domain, args=(DomainState(swaps=1),))
    repeat.start()
    assert begun.wait(LIMIT_S), "the repetition never began"
    change.start()
    change.join(0.5)  # it has published by then, or waits for the repetition
    go.set()
    repeat.join(LIMIT_S)
    change.join(LIMIT_S)
    assert [report.values["swaps"] for report in published] == ["0", "1"]


def test_topic_names_are_relative_and_unique() -> None:
    names = [topic.name for topic in outputs.TOPICS]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("/") for name in names)


@pytest.fixture
def blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SegmentationResult:
    """The result of a segmenter with instances, for an image of two objects."""
    blob_bundle.register(monkeypatch)
    rgb, _ = blob_bundle.two_blobs()
    return blob_bundle.opened(blob_bundle.write_bundle(tmp_path / "blobs")).process(Frame(rgb, 1_000_000_007, "camera"))


def check_instances(instances: Any, panoptic: Any) -> None:
    """Checks the messages of both topics for the image of two objects."""
    _, expected = blob_bundle.two_blobs()
    assert (instances.encoding, panoptic.encoding) == ("mono16", "32SC1")
    np.testing.assert_array_equal(np.frombuffer(instances.data, np.uint16).reshape(10, 12), expected)
    ids = np.where(expected > 0, 1000 + expected.astype(np.int32), 0)
    np.testing.assert_array_equal(np.frombuffer(panoptic.data, np.int32).reshape(10, 12), ids)
    assert {each.header.frame_id for each in (instances, panoptic)} == {"camera"}


def test_instances_and_panoptic_ids_are_written_to_the_bag(blobs: SegmentationResult, tmp_path: Path) -> None:
    with result_bag(tmp_path / "bag", CLASSES) as bag:
        bag.write(blobs)
    with AnyReader([tmp_path / "bag"]) as reader:
        messages = {c.topic: reader.deserialize(data, c.msgtype) for c, _, data in reader.messages()}
    check_instances(messages["/semla/segmentation/instances"], messages["/semla/segmentation/panoptic"])


def test_a_bag_of_a_segmenter_without_instances_has_no_topics_for_them(tmp_path: Path) -> None:
    with result_bag(tmp_path / "bag", CLASSES) as bag:
        bag.write(result())
    with AnyReader([tmp_path / "bag"]) as reader:
        assert not {"/semla/segmentation/instances", "/semla/segmentation/panoptic"} & {
            each.topic for each in reader.connections
        }


@pytest.mark.live
def test_instances_and_panoptic_ids_are_published_by_the_node(
    robot: tuple[Any, Any], blobs: SegmentationResult
) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from semla_ros.node.publishers import Publishers

    node, next_message = robot
    publishers = Publishers(node)
    node.trigger_configure()
    node.trigger_activate()

    def publish() -> None:
        publishers.send(blobs, Header(frame_id="camera"), CLASSES, OutputConfig())

    check_instances(*(next_message(f"segmentation/{name}", Image, publish) for name in ("instances", "panoptic")))
