from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import CLASSES, image, randomise
from tiny_fisa import ARCH, random_fisa, two_halves

from semla_ros.errors import ConfigError
from semla_ros.modeling.base import UNDEFINED, PanopticSegmenter
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.fisa.merging import panoptic, semantic
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.segmenter import FisaSegmenter

RGB = two_halves()


@pytest.fixture
def segmenter() -> FisaSegmenter:
    return FisaSegmenter(random_fisa(), CLASSES)


def test_it_is_a_panoptic_segmenter(segmenter: FisaSegmenter) -> None:
    assert isinstance(segmenter, PanopticSegmenter)


def test_segment_merges_the_classified_masks(segmenter: FisaSegmenter) -> None:
    labels, confidence = segmenter.segment(RGB)
    expected = semantic(*segmenter.classified(RGB), 3, RGB.shape[:2])
    assert (labels.dtype, confidence.dtype) == (np.int64, np.float32)
    assert labels.shape == confidence.shape == RGB.shape[:2]
    assert (labels == expected[0].numpy()).all()
    assert (confidence == expected[1].numpy()).all()
    assert len(np.unique(labels)) > 1
    assert 0 < confidence.max() <= 1


def test_instances_come_with_the_labels_of_segment(segmenter: FisaSegmenter) -> None:
    found, (labels, confidence) = segmenter.segment_instances(RGB), segmenter.segment(RGB)
    classes, numbers = panoptic(*segmenter.classified(RGB), segmenter.things, RGB.shape[:2], 0.5, 0.8)
    assert (found.labels == labels).all()
    assert (found.confidence == confidence).all()
    assert (found.panoptic == classes.numpy()).all()
    assert (found.instances == numbers.numpy()).all()
    assert found.instances.dtype == found.panoptic.dtype == np.int64
    assert found.instances.max() >= 1
    for number in range(1, found.instances.max() + 1):
        (of_class,) = np.unique(found.panoptic[found.instances == number])
        assert segmenter.things[of_class]


def test_the_size_of_the_result_can_be_chosen(segmenter: FisaSegmenter) -> None:
    found = segmenter.segment_instances(RGB, size=(7, 9))
    assert {each.shape for each in (found.labels, found.confidence, found.instances, found.panoptic)} == {(7, 9)}


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (300, 4), (33, 31)])
def test_an_image_of_any_size_is_segmented(segmenter: FisaSegmenter, size: tuple[int, int]) -> None:
    labels, _ = segmenter.segment(image("blue", height=size[0], width=size[1]))
    assert labels.shape == size
    assert (labels != UNDEFINED).all()


def test_an_array_with_negative_strides_is_segmented(segmenter: FisaSegmenter) -> None:
    assert (segmenter.segment(RGB[:, ::-1])[0] == segmenter.segment(RGB[:, ::-1].copy())[0]).all()


def test_masks_from_elsewhere_take_the_place_of_proposals(segmenter: FisaSegmenter) -> None:
    given = torch.full((2, 10, 20), -9.0)
    given[0, :, :10], given[1, :, 10:] = 9, 9
    scores, masks = segmenter.classified(RGB, given)
    assert scores.shape == (2, 4)
    assert masks.shape == (2, 10, 20)


@pytest.mark.parametrize("masks", [0, 1, 1000])
def test_any_number_of_masks_is_merged(segmenter: FisaSegmenter, masks: int) -> None:
    given = torch.randn(masks, 8, 12, generator=torch.Generator().manual_seed(1))
    scores, adjusted = segmenter.classified(RGB, given)
    labels, confidence = semantic(scores, adjusted, 3, (20, 30))
    assert scores.shape == (masks, 4)
    assert labels.shape == (20, 30)
    assert np.isfinite(confidence.numpy()).all()


def test_things_are_known_by_any_of_their_names() -> None:
    segmenter = FisaSegmenter(random_fisa(replace(ARCH, things=())), CLASSES)
    segmenter.set_classes(["road", "Car, automobile", "walker, person", "traffic sign", "teddy bear"])
    assert segmenter.things == (False, True, True, False, True)


def test_the_bundle_may_name_further_things_and_those_that_are_none() -> None:
    arch = replace(ARCH, things=("Crate, box",), stuff=("traffic light",))
    segmenter = FisaSegmenter(random_fisa(arch), ["crate", "Box", "car", "Traffic light, lamp", "road,"])
    assert segmenter.things == (True, True, True, False, False)


def test_without_void_the_classes_alone_are_scored() -> None:
    segmenter = FisaSegmenter(random_fisa(replace(ARCH, void="")), CLASSES)
    assert segmenter.text.shape == (3, 16)
    assert segmenter.classified(RGB)[0].shape == (6, 3)


def test_other_classes_give_other_scores(segmenter: FisaSegmenter) -> None:
    before = segmenter.classified(RGB)[0]
    segmenter.set_classes(["tree", "sky", "car"])
    assert (segmenter.classified(RGB)[0] - before).abs().max() > 1e-3


def test_refreshing_encodes_the_classes_again(segmenter: FisaSegmenter) -> None:
    stale = segmenter.text.clone()
    segmenter.network.clip.text_projection.mul_(torch.randn(16, 1))
    assert (segmenter.text == stale).all()
    segmenter.refresh_text()
    prompts = [f"A photo of a {name} in the scene" for name in (*CLASSES, "nothing")]
    fresh = segmenter.network.clip.encode_text(tokenize(prompts, 16))
    assert torch.allclose(segmenter.text, fresh, atol=1e-6)
    assert not torch.allclose(segmenter.text, stale, atol=1e-3)


def test_no_classes_are_refused(segmenter: FisaSegmenter) -> None:
    with pytest.raises(ConfigError, match=r"no classes \(segmenter.classes\): expected at least one"):
        segmenter.set_classes([])
    assert segmenter.classes == CLASSES


def test_classes_whose_encoding_fails_leave_the_previous_ones_in_force(
    segmenter: FisaSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = segmenter.classified(RGB)[0]
    with monkeypatch.context() as broken:
        broken.setattr(segmenter.network.clip, "encode_text", lambda tokens: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segmenter.set_classes(["tree"])
    segmenter.refresh_text()
    assert segmenter.classes == CLASSES
    assert torch.equal(segmenter.classified(RGB)[0], before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_make_pixels_undefined(segmenter: FisaSegmenter, value: float) -> None:
    segmenter.network.clip.visual.ln_post.bias.fill_(value)
    labels, confidence = segmenter.segment(RGB)
    assert (labels == UNDEFINED).all()
    assert (confidence == 0).all()


def test_bfloat16_gives_nearly_the_same_scores() -> None:
    exact, half = (Fisa(ARCH) for _ in range(2))
    for network in (exact, half):
        randomise(network, 0)
    exact, half = FisaSegmenter(exact, CLASSES), FisaSegmenter(half.to(torch.bfloat16), CLASSES)
    proposals = exact.network.generator(torch.from_numpy(RGB)[None])[0]
    (scores, masks), (half_scores, half_masks) = (each.classified(RGB, proposals) for each in (exact, half))
    assert half.dtype == torch.bfloat16
    assert half_scores.dtype == torch.float32
    assert half.segment(RGB)[0].shape == RGB.shape[:2]
    assert (half_masks - masks).abs().max() < 0.2
    assert (half_scores - scores).abs().max() < 0.05 * ARCH.logit_scale
