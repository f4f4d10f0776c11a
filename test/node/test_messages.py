import importlib.util
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from semla_ros.images.classes import class_table
from semla_ros.images.conversion import decode
from semla_ros.node import messages


@pytest.mark.parametrize(
    ("dtype", "channels", "encoding", "bytes_a_pixel"),
    [
        (np.uint8, (), "mono8", 1),
        (np.uint16, (), "mono16", 2),
        (np.float32, (), "32FC1", 4),
        (np.uint8, (3,), "rgb8", 3),
    ],
)
def test_pixels_arrive_unchanged_and_rows_are_unpadded(dtype, channels, encoding, bytes_a_pixel):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, *channels)).astype(dtype)
    message = messages.image(Header(frame_id="camera"), pixels)
    assert (message.encoding, message.height, message.width, message.step) == (encoding, 5, 7, 7 * bytes_a_pixel)
    np.testing.assert_array_equal(np.frombuffer(message.data, dtype).reshape(pixels.shape), pixels)
    assert message.header.frame_id == "camera"


def test_a_view_with_gaps_is_packed():
    pixels = np.arange(200, dtype=np.uint8).reshape(10, 20)[::2, ::2]
    message = messages.image(Header(), pixels)
    assert message.step == 10
    assert bytes(message.data) == pixels.tobytes()


def test_a_published_image_is_read_back_by_our_own_door():
    rgb = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    np.testing.assert_array_equal(decode(messages.image(Header(), rgb)), rgb)


def test_filling_a_large_image_takes_milliseconds_only():
    pixels = np.zeros((720, 1280, 3), np.uint8)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert isinstance(messages.image(Header(), pixels), Image)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02  # bytes one by one take 126 ms


def test_labels_are_json_of_id_name_and_color():
    told = json.loads(messages.labels(class_table(("road", "car, automobile"))).data)
    assert told[0] == {"id": 0, "name": "road", "color": [128, 64, 128]}
    assert (told[1]["id"], told[1]["name"]) == (1, "car, automobile")


@pytest.fixture
def vision():
    """vision_msgs.msg, or the same messages made from their definitions where it is not installed."""
    if importlib.util.find_spec("vision_msgs"):
        return importlib.import_module("vision_msgs.msg")
    store = get_typestore(Stores.ROS2_HUMBLE)
    name = "vision_msgs/msg/"
    store.register(get_types_from_msg("uint16 class_id\nstring class_name", name + "VisionClass"))
    label_info = "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold"
    store.register(get_types_from_msg(label_info, name + "LabelInfo"))
    return SimpleNamespace(VisionClass=store.types[name + "VisionClass"], LabelInfo=store.types[name + "LabelInfo"])


def test_label_info_names_every_class_and_the_threshold(vision):
    info = messages.label_info(vision, Header(), class_table(("road", "sky")), 0.25)
    assert [(each.class_id, each.class_name) for each in info.class_map] == [(0, "road"), (1, "sky")]
    assert info.threshold == pytest.approx(0.25)


def test_a_status_carries_level_text_and_details():
    status = messages.status(1, "semla: domain", "no adapter is near", {"swaps": "3"}, "camera")
    assert (status.level, status.name, status.message, status.hardware_id) == (
        b"\x01", "semla: domain", "no adapter is near", "camera",
    )  # fmt: skip
    assert [(each.key, each.value) for each in status.values] == [("swaps", "3")]
