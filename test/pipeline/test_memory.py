"""Memory that runs out: injected failures, and a real limit of a process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import frame, image

from semla_ros.config import changed
from semla_ros.errors import SegmentationError
from semla_ros.pipeline.memory import PLAIN_MODE, SMALL_BATCHES, SMALLEST_MIB, ran_out_of_memory
from semla_ros.pipeline.pipeline import SemlaPipeline

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError(CPU),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9000000000 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_errors_of_exhausted_memory_are_recognised(error: Exception) -> None:
    assert ran_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("out of memory"), OSError(28, "No space left on device")]
)
def test_other_errors_are_not_taken_for_exhausted_memory(error: Exception) -> None:
    assert not ran_out_of_memory(error)


def limited(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, fits: Callable[[str, int], bool], error: Exception
) -> list[tuple[str, int]]:
    """Makes memory run out unless an attempt fits; returns the list of the attempts (mode, memory limit in MiB)."""
    segmenter, attempts = pipeline.segmenter, list[tuple[str, int]]()
    whole = segmenter.segment

    def segment(rgb: Any, mode: Any = "plain", size: Any = None) -> Any:
        attempts.append((mode, segmenter.memory_mib))
        if not fits(mode, segmenter.memory_mib):
            raise error
        return whole(rgb, mode, size)

    monkeypatch.setattr(segmenter, "segment", segment)
    return attempts


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_smaller_batches_give_the_same_result_and_the_frame_is_not_lost(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    pipeline.configure(changed(pipeline.config, {"segmenter.mode": "sliding"}))
    pipeline.process(frame("red", 100.0))
    usual = pipeline.segment(image("red"))
    attempts = limited(pipeline, monkeypatch, lambda mode, mib: mib == SMALLEST_MIB, error)
    with caplog.at_level(logging.WARNING):
        results = [pipeline.segment(image("red")) for _ in range(3)]
    assert attempts == [("sliding", 1024), *[("sliding", SMALLEST_MIB)] * 3]
    assert all((labels == usual[0]).all() for labels, _ in results)
    assert all(np.allclose(confidence, usual[1], atol=1e-6) for _, confidence in results)
    assert pipeline.warnings == (f"memory ran out: {SMALL_BATCHES}",)
    assert caplog.text.count("memory ran out") == 1


def test_the_plain_mode_is_the_last_step_and_stays(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.configure(changed(pipeline.config, {"segmenter.mode": "sliding"}))
    attempts = limited(pipeline, monkeypatch, lambda mode, _: mode == "plain", MemoryError())
    before = pipeline.process(frame("red", 100.0))
    assert pipeline.warnings == (f"memory ran out: {PLAIN_MODE}",)
    assert attempts == [("sliding", 1024), ("sliding", SMALLEST_MIB), ("plain", SMALLEST_MIB)]
    pipeline.process(frame("red", 100.1))
    assert attempts[3:] == [("plain", SMALLEST_MIB)]
    assert before.domain.error == ""
    assert (before.labels == pipeline.segment(before.frame.rgb, "plain")[0]).all()


def test_without_a_step_left_the_frame_is_lost_and_the_next_one_is_segmented(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = [False]
    attempts = limited(pipeline, monkeypatch, lambda *_: memory[0], MemoryError("no more"))
    with pytest.raises(SegmentationError, match="could not be segmented: got MemoryError: no more"):
        pipeline.process(frame("red", 100.0))
    assert attempts == [("plain", 1024), ("plain", SMALLEST_MIB)]
    memory[0] = True
    assert pipeline.process(frame("red", 100.1)).labels.size


def test_another_error_is_not_repeated(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = limited(pipeline, monkeypatch, lambda *_: False, RuntimeError("shape mismatch"))
    with pytest.raises(SegmentationError, match="shape mismatch"):
        pipeline.process(frame("red", 100.0))
    assert len(attempts) == 1
    assert pipeline.warnings == ()


@pytest.mark.parametrize("how", ["reset", "settings"])
def test_a_reset_or_other_settings_try_the_usual_way_again(
    pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    attempts = limited(pipeline, monkeypatch, lambda _, mib: mib == SMALLEST_MIB, MemoryError())
    pipeline.process(frame("red", 100.0))
    if how == "reset":
        pipeline.reset()
    else:
        pipeline.configure(changed(pipeline.config, {"segmenter.min_confidence": 0.1}))
    assert pipeline.warnings == ()
    pipeline.process(frame("red", 100.1))
    assert attempts[2:] == [("plain", 1024), ("plain", SMALLEST_MIB)]


def test_fewer_classes_at_a_time_give_the_same_labels_but_for_rounding(pipeline: SemlaPipeline) -> None:
    rgb = image("red", height=700, width=900)  # 630,000 pixels: one class at a time within 1 MiB
    usual, confidence = pipeline.segmenter.segment(rgb)
    pipeline.segmenter.memory_mib = SMALLEST_MIB
    few, same_confidence = pipeline.segmenter.segment(rgb)
    assert (usual == few).mean() > 0.999
    assert np.allclose(confidence, same_confidence, atol=1e-6)


LIMITED = """
import resource, sys
import numpy as np
from semla_ros.config import Config, changed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.build import build_pipeline
rgb = np.full((2400, 3200, 3), 90, np.uint8)
settings = {"model.bundle": sys.argv[1], "model.device": "cpu", "segmenter.classes": ["road", "sky", "car", "tree",
    "wall", "sign", "bus", "rider"], "model.threads": 1}
pipeline = build_pipeline(changed(Config(), settings))
pipeline.process(Frame(rgb[:48, :64], 10**9, "camera"))
whole = sum(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
for spare_mib in range(560, 0, -20):  # less and less memory, until it runs out
    resource.setrlimit(resource.RLIMIT_AS, (whole + spare_mib * 2**20, -1))
    result = pipeline.process(Frame(rgb, 2 * 10**9 - spare_mib, "camera"))
    if pipeline.warnings:
        break
for i in range(2):
    result = pipeline.process(Frame(rgb, 2 * 10**9 + i, "camera"))
    print(result.labels.shape, result.domain.mixture.names != (), *pipeline.warnings, sep="; ")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS of Linux")
def test_a_process_whose_memory_is_limited_segments_every_frame_in_smaller_batches(pristine_bundle: Path) -> None:
    """The probabilities of 8 classes for 7.7 megapixels take 245 MB at once, and 31 MB class by class.

    One arena: a second one of the C library would reserve 64 MB of the limit for a thread, at any time.
    """
    command, environment = [sys.executable, "-c", LIMITED, str(pristine_bundle)], os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [f"(2400, 3200); True; memory ran out: {SMALL_BATCHES}"] * 2
    assert done.stderr.count("memory ran out") == 1
