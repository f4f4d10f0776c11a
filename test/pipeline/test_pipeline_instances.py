"""Instances in the results of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_kinds.blob_bundle import opened, register, two_blobs, write_bundle
from other_kinds.color_segmenter import ColorArch

from semla_ros.errors import SegmentationError
from semla_ros.images.frame import Frame
from semla_ros.images.panoptic import NO_SEGMENT


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def test_a_result_has_the_segments_of_a_segmenter_with_instances(tmp_path: Path) -> None:
    pipeline = opened(write_bundle(tmp_path / "blobs"))
    rgb, instances = two_blobs()
    result = pipeline.process(Frame(rgb, 10**9))
    assert result.segments is not None
    assert np.array_equal(result.segments.instances, instances)
    assert np.array_equal(result.segments.classes, result.labels)
    assert pipeline.segmenter.passes == 1  # type: ignore[attr-defined]


def test_a_result_of_a_segmenter_without_instances_has_no_segments(tmp_path: Path) -> None:
    pipeline = opened(write_bundle(tmp_path / "plain", ColorArch(2)))
    rgb, _ = two_blobs()
    assert pipeline.process(Frame(rgb, 10**9)).segments is None
    assert pipeline.segment_instances(rgb)[2] is None


def test_pixels_below_the_least_confidence_have_no_segment(tmp_path: Path) -> None:
    pipeline = opened(write_bundle(tmp_path / "blobs"), segmenter__min_confidence=0.9)
    rgb, instances = two_blobs()
    rgb[3, 3] = 150  # bright, but not certain
    result = pipeline.process(Frame(rgb, 10**9))
    assert result.segments is not None
    assert (result.labels[3, 3], result.segments.classes[3, 3], result.segments.instances[3, 3]) == (255, NO_SEGMENT, 0)
    instances[3, 3] = 0
    assert np.array_equal(result.segments.instances, instances)


def test_exhausted_memory_is_an_error_of_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = opened(write_bundle(tmp_path / "blobs"))

    def failing(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory\ndetails")

    monkeypatch.setattr(pipeline.segmenter, "segment_instances", failing)
    with pytest.raises(SegmentationError, match=r"OutOfMemoryError: CUDA out of memory$"):
        pipeline.process(Frame(two_blobs()[0], 10**9))


def test_an_image_whose_instances_need_too_much_memory_is_computed_again_with_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = opened(write_bundle(tmp_path / "blobs"))
    rgb, instances = two_blobs()
    compute, limits = pipeline.segmenter.segment_instances, []  # type: ignore[attr-defined]

    def once_too_much(*args: Any) -> Any:
        limits.append(pipeline.segmenter.memory_mib)
        if len(limits) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(*args)

    monkeypatch.setattr(pipeline.segmenter, "segment_instances", once_too_much)
    result = pipeline.process(Frame(rgb, 10**9))
    assert limits[1] < limits[0]
    assert result.segments is not None
    assert np.array_equal(result.segments.instances, instances)
