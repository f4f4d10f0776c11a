from __future__ import annotations

import importlib
import importlib.util
import json
import math
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from semla_ros.images.classes import class_table
from semla_ros.images.conversion import decode
from semla_ros.images.panoptic import Segments, outlines
from semla_ros.topics import messages
from semla_ros.topics.sources import ClassList, DomainReport, SegmentedImage

STORE = get_typestore(Stores.ROS2_HUMBLE)
VISION_CLASS, LABEL_INFO = "vision_msgs/msg/VisionClass", "vision_msgs/msg/LabelInfo"
STORE.register(get_types_from_msg("uint16 class_id\nstring class_name", VISION_CLASS))
STORE.register(
    get_types_from_msg("std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold", LABEL_INFO)
)
CLASSES = class_table(("road", "car, automobile"))
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
LABELS = np.tile(np.arange(2, dtype=np.uint8), (3, 2))


def new_rosbags(kind: str, /, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


@pytest.fixture(params=["rosbags", "rclpy"])
def new(request: pytest.FixtureRequest) -> messages.NewMessage:
    """Runs a test once with messages of rosbags and once with those of rclpy."""
    if request.param == "rosbags":
        return new_rosbags
    pytest.importorskip("rclpy")
    from semla_ros.node.message_factory import new as new_rclpy

    return new_rclpy


def source(**changes: Any) -> Any:
    fields = {"header": None, "rgb": RGB, "labels": LABELS, "confidence": LABELS, "classes": CLASSES}
    return SegmentedImage(**(fields | {"overlay_opacity": 0.5, "support": 0.25} | changes))


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding", "pixel_bytes"),
    [
        (np.uint8, (), "mono8", 1),
        (np.uint16, (), "mono16", 2),
        (np.int32, (), "32SC1", 4),
        (np.float32, (), "32FC1", 4),
        (np.uint8, (3,), "rgb8", 3),
    ],
)
def test_pixels_are_unchanged_and_rows_are_unpadded(
    new: messages.NewMessage, dtype: Any, channels: tuple[int, ...], encoding: str, pixel_bytes: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, *channels)).astype(dtype)
    message = messages.image(messages.header(3, "camera", new), pixels, new)
    assert (message.encoding, message.height, message.width, message.step) == (encoding, 5, 7, 7 * pixel_bytes)
    np.testing.assert_array_equal(np.frombuffer(message.data, dtype).reshape(pixels.shape), pixels)
    assert (message.header.frame_id, message.header.stamp.nanosec) == ("camera", 3)
    assert not message.is_bigendian


def test_a_strided_view_is_packed(new: messages.NewMessage) -> None:
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)[::2, ::2]
    message = messages.image(messages.header(0, "", new), pixels, new)
    assert message.step == 10
    assert bytes(message.data) == pixels.tobytes()


def test_big_endian_pixels_are_published_little_endian(new: messages.NewMessage) -> None:
    message = messages.image(messages.header(0, "", new), np.array([[1, 258]], ">u2"), new)
    assert (message.encoding, bytes(message.data)) == ("mono16", b"\1\0\2\1")


def test_a_published_image_can_be_decoded_again(new: messages.NewMessage) -> None:
    np.testing.assert_array_equal(decode(messages.image(messages.header(0, "", new), RGB, new)), RGB)


def test_color_and_overlay_have_the_size_of_the_labels(new: messages.NewMessage) -> None:
    seen = source(header=messages.header(0, "", new))
    for make in (messages.color, messages.overlay):
        message = make(seen, new)
        assert (message.encoding, message.height, message.width) == ("rgb8", 3, 4)
    assert bytes(messages.color(seen, new).data[:3]) == bytes(CLASSES[0].color)


SEGMENTS = Segments(
    np.array([[1, 1, 0, -1]] * 3, np.int32), np.array([[1, 2, 0, 0], [1, 2, 0, 0], [1, 700, 0, 0]], np.uint16)
)


def test_instances_and_panoptic_ids_are_published_as_documented(new: messages.NewMessage) -> None:
    seen = source(header=messages.header(3, "camera", new), segments=SEGMENTS)
    found = messages.instances(seen, new)
    assert (found.encoding, found.height, found.width, found.header.frame_id) == ("mono16", 3, 4, "camera")
    np.testing.assert_array_equal(np.frombuffer(found.data, "<u2").reshape(3, 4), SEGMENTS.instances)
    ids = messages.panoptic_ids(seen, new)
    assert (ids.encoding, ids.height, ids.width, ids.step) == ("32SC1", 3, 4, 16)
    np.testing.assert_array_equal(
        np.frombuffer(ids.data, "<i4").reshape(3, 4),
        [[1001, 1002, 0, -1], [1001, 1002, 0, -1], [1001, 1700, 0, -1]],
    )


def test_without_segments_there_are_no_instances_and_no_panoptic_ids(new: messages.NewMessage) -> None:
    assert messages.instances(source(), new) is None
    assert messages.panoptic_ids(source(), new) is None


def test_the_overlay_draws_the_outlines_of_instances(new: messages.NewMessage) -> None:
    plain, outlined = (
        np.frombuffer(messages.overlay(source(header=messages.header(0, "", new), **changes), new).data, np.uint8)
        for changes in ({}, {"segments": SEGMENTS})
    )
    marked = outlines(SEGMENTS.instances)
    assert 0 < marked.sum() < marked.size
    assert (outlined.reshape(3, 4, 3)[marked] == 255).all()
    np.testing.assert_array_equal(outlined.reshape(3, 4, 3)[~marked], plain.reshape(3, 4, 3)[~marked])


def test_the_support_score_is_published_once_it_is_known(new: messages.NewMessage) -> None:
    assert messages.support(source(), new).data == 0.25
    assert messages.support(source(support=math.nan), new) is None


def test_labels_are_json_with_id_name_and_color(new: messages.NewMessage) -> None:
    found = json.loads(messages.labels(ClassList(None, CLASSES, 0.0), new).data)
    assert found[0] == {"id": 0, "name": "road", "color": [128, 64, 128]}
    assert (found[1]["id"], found[1]["name"]) == (1, "car, automobile")


def check_label_info(new: messages.NewMessage) -> None:
    info = messages.label_info(ClassList(messages.header(5, "", new), CLASSES, 0.25), new)
    assert [(each.class_id, each.class_name) for each in info.class_map] == [(0, "road"), (1, "car")]
    assert info.threshold == pytest.approx(0.25)


def test_label_info_has_the_first_synonym_of_every_class_and_the_threshold() -> None:
    check_label_info(new_rosbags)


@pytest.mark.skipif(not importlib.util.find_spec("vision_msgs"), reason="vision_msgs is not installed")
def test_label_info_is_accepted_by_rclpy() -> None:
    check_label_info(importlib.import_module("semla_ros.node.message_factory").new)


def test_the_domain_state_is_a_diagnostic_status(new: messages.NewMessage) -> None:
    report = DomainReport(messages.header(7, "camera", new), "semla: domain", 1, "out of distribution", {"swaps": "3"})
    message = messages.state(report, new)
    (status,) = message.status
    assert status.level in (1, b"\x01")  # rosbags and rclpy represent a byte differently
    assert (status.name, status.message) == ("semla: domain", "out of distribution")
    assert [(each.key, each.value) for each in status.values] == [("swaps", "3")]
    assert message.header.stamp.nanosec == 7
