from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from catseg_outputs import logits_of, probabilities_of
from tiny import CLASSES, image, random_network
from torch import Tensor

from semla_ros.errors import ConfigError
from semla_ros.modeling.base import UNDEFINED, Mode, PromptTemplates
from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize

RGB = image("red", height=30, width=50)


@pytest.fixture
def segmenter() -> CatSegSegmenter:
    return CatSegSegmenter(random_network(), CLASSES)


@pytest.mark.parametrize("mode", ["plain", "sliding"])
def test_every_pixel_gets_its_most_probable_class_and_its_probability(segmenter: CatSegSegmenter, mode: Mode) -> None:
    labels, confidence = segmenter.segment(RGB, mode)
    probabilities = probabilities_of(segmenter, RGB, mode)
    assert labels.shape == confidence.shape == (30, 50)
    assert (labels.dtype, confidence.dtype) == (np.int64, np.float32)
    assert (labels == probabilities.argmax(0)).all()
    assert confidence == pytest.approx(probabilities.max(0))


def test_more_classes_than_a_chunk_are_compared_across_chunks(segmenter: CatSegSegmenter) -> None:
    segmenter.set_classes([f"thing {i}" for i in range(20)])
    labels, confidence = segmenter.segment(RGB)
    probabilities = probabilities_of(segmenter, RGB)
    assert probabilities.shape == (20, 30, 50)
    assert (labels == probabilities.argmax(0)).all()
    assert confidence == pytest.approx(probabilities.max(0))
    assert len(np.unique(labels // 8)) > 1


def test_a_very_large_image_is_segmented_in_smaller_chunks_with_the_same_result(
    segmenter: CatSegSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = image("red", height=40, width=60)
    labels, confidence = segmenter.segment(rgb)
    monkeypatch.setattr("semla_ros.modeling.catseg.segmenter.CHUNK_VALUES", 2 * 40 * 60)
    chunked, chunked_confidence = segmenter.segment(rgb)
    assert np.array_equal(chunked, labels)
    assert np.array_equal(chunked_confidence, confidence)


def test_plain_probabilities_are_the_sigmoid_of_the_logits_resized(segmenter: CatSegSegmenter) -> None:
    logits = torch.from_numpy(logits_of(segmenter, RGB))
    assert logits.shape == (3, 16, 16)
    expected = F.interpolate(logits.sigmoid()[None], (30, 50), mode="bilinear", align_corners=False)[0]
    assert probabilities_of(segmenter, RGB) == pytest.approx(expected.numpy(), abs=1e-6)


def test_the_size_of_the_result_can_be_chosen(segmenter: CatSegSegmenter) -> None:
    labels, confidence = segmenter.segment(RGB, size=(7, 9))
    assert labels.shape == confidence.shape == (7, 9)


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (33, 31), (200, 320)])
def test_an_image_of_any_size_is_segmented(segmenter: CatSegSegmenter, size: tuple[int, int]) -> None:
    labels, _ = segmenter.segment(image("blue", height=size[0], width=size[1]))
    assert labels.shape == size


def test_an_array_with_negative_strides_is_segmented(segmenter: CatSegSegmenter) -> None:
    assert (logits_of(segmenter, RGB[:, ::-1]) == logits_of(segmenter, RGB[:, ::-1].copy())).all()


def test_the_official_template_uses_the_first_synonym_alone(segmenter: CatSegSegmenter) -> None:
    alone = logits_of(segmenter, RGB)
    segmenter.set_classes(["road, street", "sky ,", "car,automobile"])
    assert (logits_of(segmenter, RGB) == alone).all()
    assert segmenter.classes == ("road, street", "sky ,", "car,automobile")


@pytest.mark.parametrize("prompt_templates", ["synonyms", "imagenet"])
def test_a_class_is_the_mean_direction_of_its_prompts(
    segmenter: CatSegSegmenter, prompt_templates: PromptTemplates
) -> None:
    names = ["road, street", "sky"]
    segmenter.set_classes(names, prompt_templates)
    for name, text in zip(names, segmenter.text, strict=True):
        mean = segmenter.network.clip.encode_text(tokenize(prompts(name, prompt_templates), 16)).mean(0)
        assert torch.allclose(text, mean / mean.norm(), atol=1e-6)


def test_other_classes_give_other_logits(segmenter: CatSegSegmenter) -> None:
    before = logits_of(segmenter, RGB)
    segmenter.set_classes(["tree", "sky", "car"])
    assert np.abs(logits_of(segmenter, RGB) - before).max() > 1e-3


def test_refreshing_encodes_the_classes_again(segmenter: CatSegSegmenter) -> None:
    stale = segmenter.text.clone()
    segmenter.network.clip.text_projection.mul_(torch.randn(16, 1))
    assert (segmenter.text == stale).all()
    segmenter.refresh_text()
    fresh = segmenter.network.clip.encode_text(tokenize([f"A photo of a {n} in the scene" for n in CLASSES], 16))
    assert torch.allclose(segmenter.text, fresh)
    assert not torch.allclose(segmenter.text, stale, atol=1e-3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("mode", ["plain", "sliding"])
def test_pixels_that_are_not_finite_are_undefined_and_have_no_confidence(
    segmenter: CatSegSegmenter, mode: Mode, value: float
) -> None:
    segmenter.network.aggregator.head.bias.fill_(value)
    labels, confidence = segmenter.segment(RGB, mode)
    assert (labels == UNDEFINED).all()
    assert (confidence == 0).all()


@pytest.mark.parametrize("classes", [3, 20])
def test_one_class_that_is_not_finite_makes_its_pixels_undefined_and_no_others(
    segmenter: CatSegSegmenter, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    segmenter.set_classes([f"thing {i}" for i in range(classes)])
    whole, _ = segmenter.segment(RGB)
    forward = segmenter.network.forward

    def broken(pixels: Tensor, text: Tensor) -> Tensor:
        logits = forward(pixels, text)
        logits[0, 1, :4] = torch.nan
        return logits

    monkeypatch.setattr(segmenter.network, "forward", broken)
    labels, confidence = segmenter.segment(RGB)
    undefined = labels == UNDEFINED
    assert undefined[:6].all()
    assert not undefined[9:].any()
    assert (confidence[undefined] == 0).all()
    assert (labels[~undefined] == whole[~undefined]).all()


def test_no_classes_are_refused(segmenter: CatSegSegmenter) -> None:
    with pytest.raises(ConfigError, match=r"no classes \(segmenter.classes\): expected at least one"):
        segmenter.set_classes([])
    assert segmenter.classes == CLASSES


@pytest.mark.parametrize("kind", [CatSegSegmenter, OfficialSegmenter])
def test_classes_whose_encoding_fails_leave_the_previous_ones_in_force(
    kind: type[CatSegSegmenter], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = kind(random_network(), CLASSES)
    before, tokens, text = logits_of(segmenter, RGB), segmenter.tokens, segmenter.text
    with monkeypatch.context() as broken:
        broken.setattr(segmenter.network.clip, "encode_text", lambda tokens: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segmenter.set_classes(["tree"])
    assert segmenter.classes == CLASSES
    assert segmenter.tokens is tokens
    segmenter.refresh_text()
    assert torch.equal(segmenter.text, text)
    assert (logits_of(segmenter, RGB) == before).all()


def test_the_network_input_of_an_image_gives_its_logits(segmenter: CatSegSegmenter) -> None:
    pixels = segmenter.pixels(RGB)
    assert pixels.shape == (1, 3, 32, 32)
    with torch.inference_mode():
        logits = segmenter.network(pixels, segmenter.text)[0].numpy()
    assert (logits == logits_of(segmenter, RGB)).all()


def test_windows_under_a_memory_cap_give_the_same_as_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter, batches = CatSegSegmenter(random_network(), CLASSES, memory_mib=1), []
    segmenter.network.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    together = probabilities_of(segmenter, RGB, "sliding")
    monkeypatch.setattr(segmenter.network, "activation_bytes", lambda classes: 2**19)
    two_at_a_time = probabilities_of(segmenter, RGB, "sliding")
    assert batches == [5, 2, 2, 1]
    assert two_at_a_time == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_precision_gives_nearly_the_same_probabilities(dtype: torch.dtype) -> None:
    exact, half = CatSegSegmenter(random_network(), CLASSES), CatSegSegmenter(random_network().to(dtype), CLASSES)
    assert half.dtype == dtype
    assert logits_of(half, RGB).dtype == np.float32
    assert probabilities_of(half, RGB, "sliding") == pytest.approx(probabilities_of(exact, RGB, "sliding"), abs=0.02)
