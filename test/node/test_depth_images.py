"""Which depth image belongs to a camera image."""

from __future__ import annotations

import gc
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from semla_ros.node.depth import RECENT, DepthImages

SECOND = 10**9


class Image:
    """The header of a depth image."""

    def __init__(self, seconds: float) -> None:
        sec, nanosec = divmod(round(seconds * SECOND), SECOND)
        self.header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))


def images(*seconds: float) -> tuple[DepthImages, list[Any]]:
    made, sent = DepthImages(), [Image(each) for each in seconds]
    for image in sent:
        made.add(image)
    return made, sent


def test_the_nearest_stamp_is_found_whichever_image_arrives_first() -> None:
    depth, (_, before) = images(4.90, 4.97)
    found = depth.search(5 * SECOND)
    assert found.within(0.05) is before
    after = Image(5.01)
    depth.add(after)
    depth.add(Image(5.04))
    assert found.within(0.05) is after


def test_a_stamp_outside_the_tolerance_is_not_matched() -> None:
    depth, (image,) = images(4.93)
    assert depth.search(5 * SECOND).within(0.05) is None
    assert depth.search(5 * SECOND).within(0.07) is image


def test_a_search_goes_on_while_many_depth_images_arrive() -> None:
    depth, (match,) = images(5.0)
    found = depth.search(5 * SECOND)
    for i in range(100):
        depth.add(Image(6.0 + i))
    assert found.within(0.05) is match
    assert depth.search(5 * SECOND).within(0.05) is None


def test_depth_images_that_nobody_searches_for_are_freed() -> None:
    depth, _ = images()
    for i in range(100):
        depth.add(Image(i))
        depth.search(i * SECOND)  # the camera image is dropped at once
    gc.collect()
    assert len([each for each in gc.get_objects() if type(each) is Image]) == RECENT


def test_forgotten_depth_images_are_not_found() -> None:
    depth, _ = images(5.0)
    depth.clear()
    assert depth.search(5 * SECOND).within(0.05) is None
