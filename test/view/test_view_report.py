from __future__ import annotations

from typing import Any

import pytest
from view.serving import sample

from semla_ros.view.report import Health, figures

REPORT = {"state": "active", "fps": "9.8", "latency_total_ms_median": "85.00", "frames_received": "40"}


def notices(**changes: Any) -> list[tuple[str, str]]:
    known: dict[str, Any] = {
        "wanted": "", "name": "/semla", "ros_domain": "7", "report_age_s": 0.5, "scene_age_s": 0.1, "report": REPORT,
        "camera": "", "warning": "", "sample": sample(1), "missing_images": 0, "error": "",
    }  # fmt: skip
    return [(each.level, f"{each.text} {each.hint}") for each in Health(**known | changes).notices()]


def test_a_node_that_works_gives_no_notice() -> None:
    assert notices() == []


def test_without_a_node_the_notice_says_how_to_start_one_and_names_the_ros_domain() -> None:
    ((level, text),) = notices(name="")
    assert level == "info"
    assert "ROS domain 7" in text
    assert "semla_node --ros-args" in text


def test_the_node_that_was_asked_for_is_named() -> None:
    assert "/robot_1/semla" in notices(name="", wanted="/robot_1/semla")[0][1]


def test_a_node_that_stopped_reporting_is_gone_whatever_it_said_last() -> None:
    ((level, text),) = notices(report_age_s=6.0, warning="something else")
    assert level == "error"
    assert "has not reported for 6 s" in text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"report": {"state": "inactive"}}, "warning", ["/semla is inactive", "ros2 lifecycle set /semla"]),
        ({"warning": "no image on /image (reliable): it has no publisher"}, "error", ["No image arrives", "/image"]),
        ({"warning": "2 nodes are called /semla"}, "warning", ["2 nodes are called /semla"]),
        ({"scene_age_s": 9.0, "report": REPORT | {"fps": "0.00"}}, "info", ["No image has been segmented"]),
        ({"sample": sample(1, out_of_distribution=True)}, "warning", ["unlike the training images"]),
        ({"sample": sample(1, frozen=True)}, "info", ["frozen"]),
        ({"sample": sample(1, error="adapter is truncated")}, "error", ["adapter is truncated", "last mixture"]),
        ({"missing_images": 3}, "warning", ["without them", "shared memory"]),
        ({"error": "truncated image"}, "warning", ["truncated image"]),
    ],
)
def test_each_problem_is_said_in_plain_words(changes: dict[str, Any], level: str, words: list[str]) -> None:
    ((got, text),) = notices(**changes)
    assert got == level
    assert all(word in text for word in words)


def test_figures_that_are_not_known_yet_are_left_out() -> None:
    assert figures(REPORT) == {"fps": 9.8, "latency_ms": 85.0, "received": 40.0}
    assert figures({"fps": "soon"}) == {}


def test_a_camera_that_the_node_does_not_have_is_named_with_those_that_it_has() -> None:
    ((level, text),) = notices(camera="left", report=REPORT | {"cameras": "front, rear"})
    assert (level, text) == ("warning", "The node has no camera left. Its cameras: front, rear.")
    assert "It has one camera" in notices(camera="left")[0][1]
    assert notices(camera="rear", report=REPORT | {"cameras": "front, rear"}) == []
