from __future__ import annotations

import time
from itertools import islice, pairwise
from pathlib import Path

import pytest
from tiny import image

from semla_ros.bench.stress import drive, lateness, soak, stress
from semla_ros.config import Config, changed
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import AsynchronousEmbedder, SynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline

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


@pytest.mark.parametrize("kind", [SynchronousEmbedder, AsynchronousEmbedder])
def test_every_change_brings_a_swap_and_lateness_is_in_frame_periods(
    pristine_bundle: Path, kind: type[AsynchronousEmbedder] | type[SynchronousEmbedder]
) -> None:
    late = lateness(pipeline(pristine_bundle, 4, 50.0, kind), IMAGES, swaps=5, rate_hz=50.0, every=4)
    assert late.swaps == 5
    assert 5 * 4 <= late.frames <= 7 * 4
    assert all(isinstance(worst, float) for worst in (late.worst_at_swap, late.worst_after_swap, late.worst_elsewhere))


def test_a_pipeline_that_is_slow_at_swaps_is_detected(pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = pipeline(pristine_bundle, 4, 50.0, SynchronousEmbedder)
    fuse = slow.fuse
    monkeypatch.setattr(slow, "fuse", lambda mixture: (time.sleep(0.1), fuse(mixture)))
    assert lateness(slow, IMAGES, swaps=3, rate_hz=50.0, every=10).worst_at_swap > 3


def test_the_soak_swaps_as_asked_and_samples_memory(pristine_bundle: Path) -> None:
    run = soak(pipeline(pristine_bundle, 20, 10.0, SynchronousEmbedder), IMAGES, frames=100, every=20)
    assert (run.frames, run.swaps) == (100, 5)
    assert len(run.resident_mib) == 50
    assert all(mib > 10 for mib in run.resident_mib)


def test_growing_memory_is_detected(pristine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter(range(1000))
    monkeypatch.setattr("semla_ros.bench.stress.resident_mib", lambda: float(next(values)))
    assert soak(pipeline(pristine_bundle, 20, 10.0, SynchronousEmbedder), IMAGES, frames=100, every=20).growth_mib == 26
