from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import CLASSES, image, random_network

from semla_ros.modeling.base import Mode, PromptTemplates
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize

RGB = image("red", height=30, width=50)


@pytest.fixture
def segmenter() -> CatSegSegmenter:
    return CatSegSegmenter(random_network(), CLASSES)


@pytest.mark.parametrize("mode", ["plain", "sliding"])
def test_every_pixel_gets_its_most_probable_class_and_that_probability(segmenter: CatSegSegmenter, mode: Mode) -> None:
    labels, confidence = segmenter.segment(RGB, mode)
    probabilities = segmenter.probabilities(RGB, mode)
    assert labels.shape == confidence.shape == (30, 50)
    assert (labels.dtype, confidence.dtype) == (np.int64, np.float32)
    assert (labels == probabilities.argmax(0)).all()
    assert confidence == pytest.approx(probabilities.max(0))


def test_more_classes_than_a_chunk_are_compared_across_chunks(segmenter: CatSegSegmenter) -> None:
    segmenter.set_classes([f"thing {i}" for i in range(20)])
    labels, confidence = segmenter.segment(RGB)
    probabilities = segmenter.probabilities(RGB)
    assert probabilities.shape == (20, 30, 50)
    assert (labels == probabilities.argmax(0)).all()
    assert confidence == pytest.approx(probabilities.max(0))
    assert len(np.unique(labels // 8)) > 1


def test_plain_probabilities_are_the_sigmoid_of_the_logits_resized(segmenter: CatSegSegmenter) -> None:
    logits = torch.from_numpy(segmenter.logits(RGB))
    assert logits.shape == (3, 16, 16)
    expected = F.interpolate(logits.sigmoid()[None], (30, 50), mode="bilinear", align_corners=False)[0]
    assert segmenter.probabilities(RGB) == pytest.approx(expected.numpy(), abs=1e-6)


def test_another_size_of_the_result_can_be_asked_for(segmenter: CatSegSegmenter) -> None:
    labels, confidence = segmenter.segment(RGB, size=(7, 9))
    assert labels.shape == confidence.shape == (7, 9)


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (33, 31), (200, 320)])
def test_a_image_of_any_size_is_segmented(segmenter: CatSegSegmenter, size: tuple[int, int]) -> None:
    labels, _ = segmenter.segment(image("blue", height=size[0], width=size[1]))
    assert labels.shape == size


def test_a_mirrored_view_of_an_array_is_a_image_too(segmenter: CatSegSegmenter) -> None:
    assert (segmenter.logits(RGB[:, ::-1]) == segmenter.logits(RGB[:, ::-1].copy())).all()


def test_only_the_first_of_synonyms_is_asked_for(segmenter: CatSegSegmenter) -> None:
    alone = segmenter.logits(RGB)
    segmenter.set_classes(["road, street", "sky ,", "car,automobile"])
    assert (segmenter.logits(RGB) == alone).all()
    assert segmenter.classes == ("road, street", "sky ,", "car,automobile")


@pytest.mark.parametrize("prompt_templates", ["synonyms", "imagenet"])
def test_a_class_is_the_mean_direction_of_its_prompts(
    segmenter: CatSegSegmenter, prompt_templates: PromptTemplates
) -> None:
    names = ["road, street", "sky"]
    segmenter.set_classes(names, prompt_templates)
    for name, text in zip(names, segmenter._text, strict=True):
        mean = segmenter.network.clip.encode_text(tokenize(prompts(name, prompt_templates), 16)).mean(0)
        assert torch.allclose(text, mean / mean.norm(), atol=1e-6)


def test_other_classes_give_other_logits(segmenter: CatSegSegmenter) -> None:
    before = segmenter.logits(RGB)
    segmenter.set_classes(["tree", "sky", "car"])
    assert np.abs(segmenter.logits(RGB) - before).max() > 1e-3


def test_text_is_encoded_anew_when_it_is_refreshed(segmenter: CatSegSegmenter) -> None:
    stale = segmenter._text.clone()
    segmenter.network.clip.text_projection.mul_(torch.randn(16, 1))
    assert (segmenter._text == stale).all()
    segmenter.refresh_text()
    fresh = segmenter.network.clip.encode_text(tokenize([f"A photo of a {n} in the scene" for n in CLASSES], 16))
    assert torch.allclose(segmenter._text, fresh)
    assert not torch.allclose(segmenter._text, stale, atol=1e-3)


def test_what_is_not_a_number_has_no_confidence(segmenter: CatSegSegmenter) -> None:
    segmenter.network.aggregator.head.bias.fill_(torch.nan)
    _, confidence = segmenter.segment(RGB)
    assert (confidence == 0).all()


def test_windows_under_a_memory_cap_give_the_same_as_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, batches = CatSegSegmenter(random_network(), CLASSES, memory_mib=1), []
    segmenter.network.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    together = segmenter.probabilities(RGB, "sliding")
    monkeypatch.setattr(segmenter.network, "activation_bytes", lambda classes: 2**19)
    two_at_a_time = segmenter.probabilities(RGB, "sliding")
    assert batches == [5, 2, 2, 1]
    assert two_at_a_time == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_in_half_precision_gives_nearly_the_same_probabilities(dtype: torch.dtype) -> None:
    exact, half = CatSegSegmenter(random_network(), CLASSES), CatSegSegmenter(random_network().to(dtype), CLASSES)
    assert half.dtype == dtype
    assert half.logits(RGB).dtype == np.float32
    assert half.probabilities(RGB, "sliding") == pytest.approx(exact.probabilities(RGB, "sliding"), abs=0.02)
