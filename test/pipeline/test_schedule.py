"""Which frames are embedded when several cameras share a domain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from semla_ros.images.frame import Frame
from semla_ros.pipeline.schedule import NavigatorSchedule

IMAGE = np.zeros((1, 1, 3), np.uint8)
MS = 1_000_000


class Submitted:
    """An embedder that notes what is submitted: stamps in milliseconds, and cameras."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, str]] = []

    def submit(self, frame: Frame) -> bool:
        self.frames.append((frame.stamp_ns // MS, frame.frame_id))
        return True

    def clear(self) -> None:
        self.frames.clear()


def embedded(cameras: dict[str, tuple[int, int]], seconds: int = 12, period_s: float = 0.5) -> list[tuple[int, str]]:
    """Submits frames in order of arrival. A camera has an interval and a delay of its stamps, in milliseconds."""
    arrivals = sorted(
        (arrival, number, name)
        for number, (name, (interval, _)) in enumerate(cameras.items())
        for arrival in range(0, seconds * 1000, interval)
    )
    schedule = NavigatorSchedule(submitted := Submitted())  # type: ignore[arg-type]
    for arrival, _, name in arrivals:
        schedule.submit(Frame(IMAGE, (arrival - cameras[name][1]) * MS, name), period_s)
    return submitted.frames


def counts(frames: list[tuple[int, str]]) -> dict[str, int]:
    return {name: sum(each == name for _, each in frames) for name in ("front", "rear")}


def test_one_camera_is_embedded_once_per_period() -> None:
    assert embedded({"front": (100, 0)}, 3) == [(stamp, "front") for stamp in range(0, 3000, 500)]


@pytest.mark.parametrize(("interval", "delay"), [(100, 0), (100, -10), (100, 10), (100, 250), (33, 0), (1000, 0)])
def test_cameras_take_turns_at_the_rate_of_one(interval: int, delay: int) -> None:
    frames = embedded({"front": (100, 0), "rear": (interval, delay)}, seconds=60)
    found = counts(frames)
    assert abs(found["front"] - found["rear"]) <= 1
    stamps = [stamp for stamp, _ in frames]
    assert 0.8 * 120 <= len(frames) <= 121
    assert all(after - before >= 500 for before, after in pairwise(stamps))


@pytest.mark.parametrize("delay", [0, 5000])
def test_a_camera_that_is_silent_or_far_behind_delays_no_other_for_long(delay: int) -> None:
    frames = embedded({"front": (100, 0), "rear": (100 if delay else 10**6, delay)}, seconds=60)
    assert counts(frames)["front"] >= 110


def test_a_frame_older_than_one_of_its_own_camera_is_not_embedded() -> None:
    schedule = NavigatorSchedule(submitted := Submitted())  # type: ignore[arg-type]
    for stamp, period_s in ((0, 1.0), (400, 1.0), (300, 0.1)):
        schedule.submit(Frame(IMAGE, stamp * MS, "front"), period_s)
    assert submitted.frames == [(0, "front")]


def test_a_new_camera_has_the_next_turn() -> None:
    schedule = NavigatorSchedule(submitted := Submitted())  # type: ignore[arg-type]
    for stamp, camera in ((0, "front"), (400, "front"), (490, "rear"), (500, "front"), (510, "rear")):
        schedule.submit(Frame(IMAGE, stamp * MS, camera), 0.5)
    assert submitted.frames == [(0, "front"), (510, "rear")]
