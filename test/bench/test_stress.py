from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path

import pytest
from tiny import image

from semla_ros.bench.stress import drive, lateness, soak, stress
from semla_ros.config import Config, changed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import AsynchronousEmbedder, EmbeddingResult, SynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.pipeline.result import SegmentationResult

IMAGES = [image("red"), image("blue")]


def pipeline(
    bundle: Path, every: int, rate_hz: float, kind: type[AsynchronousEmbedder] | type[SynchronousEmbedder]
) -> SemlaPipeline:
    config = changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"})
    return build_pipeline(stress(config, every, rate_hz), kind)


def test_the_drive_shows_each_image_for_so_many_frames_at_a_steady_rate() -> None:
    frames = list(islice(drive(IMAGES, every=3, rate_hz=10.0), 9))
    assert [frame.rgb is IMAGES[0] for frame in frames] == [True] * 3 + [False] * 3 + [True] * 3
    assert {b.stamp_ns - a.stamp_ns for a, b in pairwise(frames)} == {10**8}


class Clock:
    """Stands in for the module ``time``: it passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("semla_ros.bench.stress.time", clock)
    return clock


def taking(subject: SemlaPipeline, clock: Clock, seconds: float, seconds_at_swap: float) -> SemlaPipeline:
    """A pipeline whose frames take so long by the clock."""
    process = subject.process

    def timed(frame: Frame) -> SegmentationResult:
        result = process(frame)
        clock.sleep(seconds_at_swap if result.domain.swapped else seconds)
        return result

    subject.process = timed  # type: ignore[method-assign]
    return subject


def test_every_change_brings_a_swap_and_no_frame_is_late(pristine_bundle: Path, clock: Clock) -> None:
    even = taking(pipeline(pristine_bundle, 4, 50.0, SynchronousEmbedder), clock, 0.005, 0.005)
    late = lateness(even, IMAGES, swaps=5, rate_hz=50.0, every=4)
    assert late.swaps == 5
    assert 5 * 4 <= late.frames <= 7 * 4
    assert (late.worst_at_swap, late.worst_after_swap, late.worst_elsewhere) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_pipeline_that_is_slow_at_swaps_is_late_there_in_frame_periods(pristine_bundle: Path, clock: Clock) -> None:
    slow = taking(pipeline(pristine_bundle, 10, 50.0, SynchronousEmbedder), clock, 0.005, 0.025)
    late = lateness(slow, IMAGES, swaps=3, rate_hz=50.0, every=10)
    assert late.worst_at_swap == pytest.approx(1.0)  # 20 ms more than usual, at 20 ms per frame
    assert late.worst_after_swap == pytest.approx(0.25)  # it begins 5 ms late
    assert late.worst_elsewhere == pytest.approx(0.0, abs=1e-6)


class AwaitedEmbedder(AsynchronousEmbedder):
    """Embeds in a thread of its own; each frame waits for its embedding, however long that takes."""

    def take(self, wait: bool = False) -> EmbeddingResult | None:
        return super().take(wait=True)


def test_swaps_are_counted_with_a_navigator_in_a_thread_of_its_own(pristine_bundle: Path, clock: Clock) -> None:
    asynchronous = pipeline(pristine_bundle, 10, 20.0, AwaitedEmbedder)
    assert lateness(asynchronous, IMAGES, swaps=2, rate_hz=20.0, every=10).swaps == 2


def test_the_soak_swaps_as_asked_and_samples_memory(pristine_bundle: Path) -> None:
    run = soak(pipeline(pristine_bundle, 20, 10.0, SynchronousEmbedder), IMAGES, frames=100, every=20)
    assert (run.frames, run.swaps) == (100, 5)
    assert len(run.resident_mib) == 50
    assert all(mib > 10 for mib in run.resident_mib)


def test_growing_memory_is_detected(pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter(range(1000))
    monkeypatch.setattr("semla_ros.bench.stress.resident_mib", lambda process: float(next(values)))
    assert soak(pipeline(pristine_bundle, 20, 10.0, SynchronousEmbedder), IMAGES, frames=100, every=20).growth_mib == 26
