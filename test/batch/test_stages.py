from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny import frame, random_navigator

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.batch.rows import Embedded, End, Reading, Segmented, Skipped, packed, unpacked
from semla_ros.batch.stages import EmbeddingStage, SegmentationStage, Stage
from semla_ros.config import Config, changed
from semla_ros.pipeline.build import build_pipeline

RED, BLUE = Mixture(("red",), (1.0,), (1.0,), 1.0), Mixture(("blue", "red"), (0.6, 0.4), (1.0, 2.0), 1.0)


@pytest.fixture(autouse=True)
def _threads_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(bundle: Path) -> Config:
    return changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"})


def reading(number: int, cluster: int = -1, domain: str = "red") -> Reading:
    return Reading(3, number, str(number), frame(domain, float(number)), cluster)


def results(stage: Stage, *rows: object) -> list[object]:
    return [row for batch in stage(packed(rows)) for row in unpacked(batch)]


def test_images_are_embedded_as_by_the_navigator(config: Config) -> None:
    (row,) = results(EmbeddingStage(config, 1), reading(4))
    assert isinstance(row, Embedded)
    assert (row.source, row.number, row.name, row.stamp_ns) == (3, 4, "4", 4 * 10**9)
    expected = random_navigator().embed(frame("red", 4.0).rgb)
    np.testing.assert_allclose(np.frombuffer(row.embedding, np.float32), expected, rtol=1e-4)


def test_images_are_segmented_with_the_mixture_of_their_cluster_and_fused_once_for_each(config: Config) -> None:
    stage = SegmentationStage(config, 1, [RED, BLUE])
    rows = results(stage, reading(0, 1), reading(1, 1), reading(2, 0), reading(3, 0), reading(4, 1))
    assert [row.fused for row in rows] == [True, False, True, False, True]
    pipeline = build_pipeline(config)
    for number, mixture in ((1, BLUE), (3, RED)):
        pipeline.fuse(mixture)
        labels, confidence = pipeline.segment(frame("red", float(number)).rgb)
        mask, certainty = (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                           for data in (rows[number].mask, rows[number].confidence))  # fmt: skip
        assert (mask == labels).mean() > 0.99
        np.testing.assert_allclose(certainty, 255 * confidence, atol=1.5)


def test_pixels_below_the_threshold_are_unlabelled(config: Config) -> None:
    stage = SegmentationStage(changed(config, {"segmenter.min_confidence": 1.0}), 1, [RED])
    (row,) = results(stage, reading(0, 0))
    assert (cv2.imdecode(np.frombuffer(row.mask, np.uint8), cv2.IMREAD_UNCHANGED) == 255).all()


def test_rows_without_an_image_pass_through(config: Config) -> None:
    rows = Skipped(3, 1, "damaged"), End(3, 2)
    assert tuple(results(EmbeddingStage(config, 1), *rows)) == rows


def test_an_image_of_a_damaged_adapter_is_skipped_and_never_segmented_with_another_mixture(
    config: Config, bundle: Path
) -> None:
    stage = SegmentationStage(config, 1, [RED, BLUE])
    (bundle / "adapters/blue/adapter_model.safetensors").write_bytes(b"damaged")
    rows = results(stage, reading(0, 0), reading(1, 1), reading(2, 1), reading(3, 0))
    assert [type(row) for row in rows] == [Segmented, Skipped, Skipped, Segmented]
    assert "blue" in rows[1].error
    assert [rows[0].fused, rows[3].fused] == [True, False]
