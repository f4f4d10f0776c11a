"""Merging, compared with the post-processing of transformers on the same logits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.bench.live_memory import LiveMemory
from semla_ros.modeling.base import UNDEFINED
from semla_ros.modeling.fisa.merging import panoptic, semantic

SIZE = 60, 90


@pytest.fixture(scope="module")
def processor() -> Any:
    from transformers import Mask2FormerImageProcessor

    return Mask2FormerImageProcessor()


def logits(seed: int, masks: int = 12, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Scores with void, and smooth masks of the one size (384 x 384) that transformers does not resize.

    Some masks hardly overlap with others, some are mostly hidden by them.
    """
    draw = torch.Generator().manual_seed(seed)
    smooth = F.interpolate(4 * torch.randn(1, masks, 6, 6, generator=draw), (384, 384), mode="bicubic")[0]
    highest = smooth.topk(2, dim=0).values
    others = highest[1].where(smooth == highest[0], highest[0])
    larger = torch.linspace(-1, 3, masks)[:, None, None]
    return 4 * torch.randn(masks, classes + 1, generator=draw), smooth - others + larger


def outputs(scores: Tensor, masks: Tensor) -> SimpleNamespace:
    return SimpleNamespace(class_queries_logits=scores[None], masks_queries_logits=masks[None])


def compact(numbers: np.ndarray) -> np.ndarray:
    """Numbers the values of a map in the order of their first pixels, so that only the partition counts."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].reshape(numbers.shape)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [SIZE, (384, 384), (500, 333)])
def test_the_semantic_map_equals_that_of_transformers(processor: Any, seed: int, size: tuple[int, int]) -> None:
    scores, masks = logits(seed)
    (expected,) = processor.post_process_semantic_segmentation(
        outputs(scores, masks), target_sizes=[size], return_segmentation_scores=True
    )
    labels, confidence = semantic(scores, masks, 5, size)
    highest = expected["segmentation_scores"].topk(2, dim=0).values
    clear = highest[0] - highest[1] > 1e-5  # sums in another order
    assert (labels == expected["segmentation"])[clear].all()
    assert clear.float().mean() > 0.999
    total = expected["segmentation_scores"].sum(0)
    assert torch.allclose(confidence, highest[0] / total.clamp(min=1), atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [SIZE, (384, 384)])
def test_the_panoptic_map_equals_that_of_transformers(processor: Any, seed: int, size: tuple[int, int]) -> None:
    scores, masks = logits(seed)
    (expected,) = processor.post_process_panoptic_segmentation(
        outputs(scores, masks), target_sizes=[size], label_ids_to_fuse=set()
    )
    classes, instances = panoptic(scores, masks, [True] * 5, size, 0.5, 0.8)
    of_segment = {each["id"]: each["label_id"] for each in expected["segments_info"]}
    segments = expected["segmentation"].numpy().astype(int)
    assert len(of_segment) >= 3
    assert (classes.numpy() == np.vectorize(lambda segment: of_segment.get(segment, UNDEFINED))(segments)).all()
    assert (compact(instances.numpy()) == compact(segments)).all()
    assert set(instances.unique().tolist()) - {0} == set(range(1, len(of_segment) + 1))


def test_a_mask_that_others_mostly_hide_is_no_segment() -> None:
    masks = torch.full((2, 8, 8), -9.0)
    masks[0], masks[1, :, 1:] = 2, 9
    scores = torch.eye(2) * 9
    classes, instances = panoptic(scores, masks, [True, True], (8, 8), 0.5, 0.8)
    assert classes[0].tolist() == [UNDEFINED, *[1] * 7]
    assert instances[0].tolist() == [0, *[1] * 7]


def test_stuff_has_no_instances_and_things_are_numbered_without_gaps() -> None:
    scores, masks = logits(1)
    all_things, _ = panoptic(scores, masks, [True] * 5, SIZE, 0.5, 0.8)
    classes, instances = panoptic(scores, masks, [True, False, True, False, False], SIZE, 0.5, 0.8)
    assert torch.equal(classes, all_things)
    thing = (classes == 0) | (classes == 2)
    assert (instances[~thing] == 0).all()
    assert instances[thing].unique().tolist() == list(range(1, int(instances.max()) + 1))
    assert instances.max() >= 2


def test_two_masks_of_one_stuff_class_around_a_thing_leave_its_number_alone() -> None:
    """Transformers gives the second car the id of the first one here."""
    masks = torch.full((4, 384, 384), -9.0)
    for index in range(4):
        masks[index, :, 96 * index : 96 * (index + 1)] = 9
    scores = torch.full((4, 3), -9.0)
    scores[[0, 1, 2, 3], [0, 1, 0, 1]] = 9  # road, car, road, car
    classes, instances = panoptic(scores, masks, [False, True], (4, 4), 0.5, 0.8)
    assert classes[0].tolist() == [0, 1, 0, 1]
    assert instances[0].tolist() == [0, 1, 0, 2]


def test_results_do_not_depend_on_how_many_maps_are_resized_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, masks = logits(2)
    together = *semantic(scores, masks, 5, SIZE), *panoptic(scores, masks, [True] * 5, SIZE, 0.5, 0.8)
    resize, sizes = F.interpolate, []

    def counted(maps: Tensor, *args: Any, **options: Any) -> Tensor:
        sizes.append(maps.shape[1])
        return resize(maps, *args, **options)

    monkeypatch.setattr(F, "interpolate", counted)
    two = 2 * SIZE[0] * SIZE[1]
    apart = *semantic(scores, masks, 5, SIZE, two), *panoptic(scores, masks, [True] * 5, SIZE, 0.5, 0.8, two)
    assert max(sizes) == 2
    for one, other in zip(together, apart, strict=True):
        assert torch.equal(one, other)


def test_without_masks_every_pixel_has_confidence_0_and_no_segment() -> None:
    scores, masks = torch.zeros(0, 4), torch.zeros(0, 8, 8)
    labels, confidence = semantic(scores, masks, 3, SIZE)
    classes, instances = panoptic(scores, masks, [True] * 3, SIZE, 0.5, 0.8)
    assert labels.shape == classes.shape == SIZE
    assert (confidence == 0).all()
    assert (classes == UNDEFINED).all()
    assert (instances == 0).all()


def test_masks_that_all_show_void_are_no_segments() -> None:
    scores, masks = torch.zeros(3, 4), torch.ones(3, 8, 8)
    scores[:, 3] = 9
    classes, _ = panoptic(scores, masks, [True] * 3, SIZE, 0.5, 0.8)
    assert (classes == UNDEFINED).all()


def test_confidence_is_at_most_1_where_many_masks_of_a_class_overlap() -> None:
    scores, masks = torch.zeros(30, 3), torch.full((30, 8, 8), 9.0)
    scores[:, 1] = 12
    _, confidence = semantic(scores, masks, 2, SIZE)
    assert 0.99 < confidence.max() <= 1


def test_pixels_of_a_mask_that_are_not_numbers_are_undefined_and_no_others() -> None:
    scores, masks = logits(3)
    masks[4, :96] = torch.nan
    labels, confidence = semantic(scores, masks, 5, (8, 8))
    assert (labels[:2] == UNDEFINED).all()
    assert (confidence[:2] == 0).all()
    assert (labels[3:] != UNDEFINED).all()
    assert confidence.isfinite().all()


def test_pixels_of_a_mask_that_are_not_numbers_belong_to_no_segment() -> None:
    masks = torch.full((2, 4, 4), -9.0)
    masks[0], masks[1, 2:] = 9, torch.nan
    for scores in (9 * torch.eye(2), torch.tensor([[9.0, 0], [8, 0]])):
        classes, instances = panoptic(scores, masks, [True, True], (4, 4), 0.5, 0.4)
        assert (classes[:2] == 0).all()
        assert (instances[:2] == 1).all()
        assert (classes[2:] == UNDEFINED).all()
        assert (instances[2:] == 0).all()


def test_scores_that_are_not_numbers_make_all_pixels_undefined() -> None:
    scores, masks = logits(3)
    scores[0] = torch.nan
    labels, confidence = semantic(scores, masks, 5, SIZE)
    assert (labels == UNDEFINED).all()
    assert (confidence == 0).all()


def test_memory_at_the_size_of_the_image_does_not_grow_with_masks_and_classes() -> None:
    four, peaks = 4 * 300 * 400, []
    for count in (50, 400):
        draw = torch.Generator().manual_seed(0)
        scores, masks = 9 * torch.randn(count, count, generator=draw), torch.randn(count, 6, 8, generator=draw)
        with torch.inference_mode(), LiveMemory() as memory:
            semantic(scores, masks, count - 1, (300, 400), four)
            panoptic(scores, masks, [True] * (count - 1), (300, 400), 0.5, 0.0, four)
        peaks.append(memory.peak)
    assert peaks[1] < 1.3 * peaks[0]
