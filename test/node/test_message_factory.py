import array

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from semla_ros.node import message_factory
from semla_ros.node.diagnostics import status


def test_a_message_type_is_found_by_its_name():
    assert message_factory.message_type("sensor_msgs/msg/Image") is Image


def test_a_message_type_of_a_missing_package_is_none():
    assert message_factory.message_type("no_such_package_msgs/msg/Image") is None


def test_image_data_is_passed_to_rclpy_as_an_array_which_it_does_not_copy_byte_by_byte(monkeypatch):
    class Spy:
        @classmethod
        def get_fields_and_field_types(cls):
            return {"data": "sequence<uint8>"}

    monkeypatch.setattr(message_factory, "message_type", lambda kind: Spy)
    message = message_factory.new("sensor_msgs/msg/Image", data=np.arange(5, dtype=np.uint8))
    assert message.data == array.array("B", [0, 1, 2, 3, 4])


def test_a_diagnostic_level_is_given_as_an_integer():
    assert message_factory.new("diagnostic_msgs/msg/DiagnosticStatus", level=1).level == DiagnosticStatus.WARN


def test_a_status_has_level_text_and_details():
    report = status(1, "semla: segmentation", "no image", {"fps": "3"}, "cpu")
    assert (report.level, report.name, report.message, report.hardware_id) == (
        b"\x01", "semla: segmentation", "no image", "cpu",
    )  # fmt: skip
    assert [(each.key, each.value) for each in report.values] == [("fps", "3")]
