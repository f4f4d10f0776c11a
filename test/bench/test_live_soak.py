from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import image

from semla_ros.bench.live_soak import live_soak, watched
from semla_ros.bench.processes import BenchError
from semla_ros.bench.stress import stress_settings

pytestmark = pytest.mark.live


def test_the_live_node_swaps_takes_parameters_and_reloads_and_does_not_grow(pristine_bundle: Path) -> None:
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu", "library.memory_mib": 1}
    images = [image("red"), image("blue")]
    stress = {**stress_settings(20, 10.0), "navigator.max_share": 1.0}
    run = live_soak(images, 400, 20, {**settings, **stress}, change_every=25, reload_every=50)
    assert run.frames >= 400
    assert run.swaps >= 2  # how many more, and of what follows, depends on how fast the frames are
    assert run.changes >= 1
    assert run.reloads >= 1
    assert 2 <= len(run.resident_mib) <= 60  # a fast node publishes several masks between two samples
    assert run.growth_mib < 30  # 200 images that are kept would take 40 MB
    assert abs(run.thread_growth) <= 1
    assert abs(run.file_growth) <= 2
    assert all(mib > 10 for mib in run.resident_mib)


class Camera:
    """Stands in for a process: it prints one more mask, and ends, between any two looks at it."""

    pid, ended_at = os.getpid(), 1

    def __init__(self) -> None:
        self.masks = 0

    @property
    def log(self) -> str:
        self.masks += 1
        return f'{{"masks": {self.masks}, "swaps": 0, "changes": 0, "reloads": 0}}'

    @property
    def ended(self) -> bool:
        return self.masks >= self.ended_at

    def failure(self, got: str, expected: str) -> BenchError:
        return BenchError("process failed", got=got, expected=expected)


class Node(Camera):
    ended = False  # type: ignore[assignment]


def test_what_the_camera_printed_right_before_its_end_counts() -> None:
    assert watched(Node(), Camera(), 2).frames == 2  # type: ignore[arg-type]


def test_a_camera_that_ended_too_early_is_an_error() -> None:
    with pytest.raises(BenchError, match="got it ended, expected 3 masks"):
        watched(Node(), Camera(), 3)  # type: ignore[arg-type]
