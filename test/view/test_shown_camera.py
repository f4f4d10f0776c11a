"""Which camera of the node is shown."""

from __future__ import annotations

import pytest

from semla_ros.view.shown_camera import ShownCamera, camera_names

ONE = {"cameras": "", "image_topic": "/camera/image_raw", "image_reliability": "best_effort"}
TWO = {"cameras": "front, rear", "image_topic": "/a/image, /b/image", "image_reliability": "reliable, best_effort"}


@pytest.mark.parametrize("wanted", ["", "front"])
def test_the_only_camera_has_no_name(wanted: str) -> None:
    assert ShownCamera.of(ONE, wanted) == ShownCamera("", "/camera/image_raw", False)
    assert camera_names(ONE) == ()


@pytest.mark.parametrize(("wanted", "name"), [("", "front"), ("front", "front"), ("left", "front"), ("rear", "rear")])
def test_of_several_cameras_the_wanted_one_is_shown_else_the_first(wanted: str, name: str) -> None:
    front, rear = ShownCamera("front", "/a/image", True), ShownCamera("rear", "/b/image", False)
    assert ShownCamera.of(TWO, wanted) == (front if name == "front" else rear)


def test_before_the_first_report_and_without_a_subscription_there_is_no_topic() -> None:
    assert ShownCamera.of({}, "") == ShownCamera()
    assert ShownCamera.of(TWO | {"image_topic": "", "image_reliability": ""}, "rear") == ShownCamera("rear")


@pytest.mark.parametrize(("node", "space"), [("/semla", "/"), ("/robot_1/semla", "/robot_1/")])
def test_the_topics_of_a_camera_lie_in_its_sub_namespace(node: str, space: str) -> None:
    assert ShownCamera().space(node) == space
    assert ShownCamera("front").space(node) == f"{space}front/"
