from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_fisa import ARCH, random_fisa, two_halves
from torch import Tensor

from semla_ros.modeling.fisa.loss import FisaLoss, fisa_loss
from semla_ros.modeling.fisa.matching import Truth, differences, match
from semla_ros.modeling.fisa.simo import simo

CLASSES = ("road, street", "sky", "car")
LABELS = torch.tensor([[0, 0, 2 + 256, 2 + 256], [0, 255, 2 + 512, 2 + 512], [0, 0, 1, 1]])
IMAGES = torch.from_numpy(two_halves()[:, 16:80])[None].expand(2, -1, -1, -1)
MAPS = torch.zeros(2, 16, 16, dtype=torch.int64)
MAPS[:, :, 8:], MAPS[:, 4:8, :4], MAPS[1, 8:12, :4] = 1, 2 + 256, 2 + 512


def perfect(truth: Truth, height: int, width: int) -> Tensor:
    """Logits of the true masks; 0 where the pixels are unlabelled."""
    masks = torch.zeros(len(truth.classes), height, width)
    masks[:, truth.labelled] = 40 * truth.masks - 20
    return masks


def test_a_label_map_holds_a_segment_per_instance_and_per_class_without_instances() -> None:
    truth = Truth.of(LABELS)
    assert truth.classes.tolist() == [0, 1, 2, 2]
    assert truth.masks.sum(1).tolist() == [5, 2, 2, 2]
    assert int(truth.labelled.sum()) == truth.masks.shape[1] == 11


def test_differences_of_masks_equal_those_of_transformers() -> None:
    from transformers.models.mask2former.modeling_mask2former import (
        pair_wise_dice_loss,
        pair_wise_sigmoid_cross_entropy_loss,
    )

    draw = torch.Generator().manual_seed(0)
    masks, truth = 5 * torch.randn(7, 50, generator=draw), (torch.rand(4, 50, generator=draw) > 0.5).float()
    entropy, dice = differences(masks, truth)
    assert torch.allclose(entropy, pair_wise_sigmoid_cross_entropy_loss(masks, truth), atol=1e-5)
    assert torch.allclose(dice, pair_wise_dice_loss(masks, truth), atol=1e-6)


def test_each_true_mask_is_assigned_the_proposal_of_its_shape_and_class() -> None:
    truth = Truth.of(LABELS)
    order = torch.tensor([2, 0, 3, 1])
    masks = torch.cat([torch.zeros(1, 11), perfect(truth, 3, 4)[order][:, truth.labelled]])
    proposed, true = match(torch.zeros(5, 4), *differences(masks, truth.masks), truth.classes)
    assert dict(zip(true.tolist(), proposed.tolist(), strict=True)) == {2: 1, 0: 2, 3: 3, 1: 4}


def test_of_two_proposals_of_one_shape_the_class_decides() -> None:
    truth = Truth(torch.tensor([1]), torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool))
    masks, scores = torch.tensor([[5.0, -5.0], [5.0, -5.0]]), torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    proposed, _ = match(scores, *differences(masks, truth.masks), truth.classes)
    assert proposed.tolist() == [1]


def test_masks_and_classes_that_are_right_have_no_loss() -> None:
    truth = Truth.of(LABELS)
    masks, scores = perfect(truth, 3, 4)[None], 40 * F.one_hot(truth.classes, 4)[None].float()
    assert fisa_loss(scores, masks, [truth], has_void=True) == pytest.approx(0, abs=1e-4)


def test_a_wrong_class_costs_twice_its_cross_entropy() -> None:
    truth = Truth.of(LABELS)
    scores = torch.zeros(1, 4, 4)
    assert fisa_loss(scores, perfect(truth, 3, 4)[None], [truth], has_void=True) == pytest.approx(
        2 * torch.tensor(4.0).log().item(), abs=1e-4
    )


def test_masks_without_a_match_are_trained_to_be_void_with_a_tenth_of_the_weight() -> None:
    truth = Truth.of(LABELS)
    masks = torch.cat([perfect(truth, 3, 4), torch.full((1, 3, 4), -20.0)])[None]
    scores = torch.cat([40 * F.one_hot(truth.classes, 4).float(), torch.tensor([[40.0, 0, 0, 0]])])[None]
    with_void = fisa_loss(scores, masks, [truth], has_void=True)
    assert with_void == pytest.approx(2 * 40 * 0.1 / 4.1, rel=1e-3)
    assert fisa_loss(scores[..., :3], masks, [truth], has_void=False) == pytest.approx(0, abs=1e-4)


def test_unlabelled_pixels_do_not_count() -> None:
    truth = Truth.of(LABELS)
    masks, scores = perfect(truth, 3, 4)[None], torch.zeros(1, 4, 4)
    expected = fisa_loss(scores, masks, [truth], has_void=True)
    masks[..., 1, 1] = 30
    assert fisa_loss(scores, masks, [truth], has_void=True) == expected


@pytest.mark.parametrize("masks", [0, 2])
def test_without_labels_or_masks_the_loss_is_finite_and_has_a_gradient(masks: int) -> None:
    truth = Truth.of(torch.full((3, 4), 255))
    scores = torch.zeros(1, masks, 4, requires_grad=True)
    loss = fisa_loss(scores, torch.zeros(1, masks, 3, 4), [truth], has_void=False)
    loss.backward()
    assert loss == 0
    assert scores.grad is not None


def test_fewer_masks_than_segments_are_all_matched() -> None:
    truth = Truth.of(LABELS)
    loss = fisa_loss(torch.zeros(1, 2, 4), torch.zeros(1, 2, 3, 4), [truth], has_void=True)
    assert loss.isfinite()


def test_the_loss_is_computed_in_float32_also_where_the_network_is_not() -> None:
    truth, draw = Truth.of(LABELS), torch.Generator().manual_seed(0)
    scores, masks = torch.randn(1, 5, 4, generator=draw), torch.randn(1, 5, 3, 4, generator=draw)
    expected = fisa_loss(scores, masks, [truth], has_void=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert fisa_loss(scores, masks, [truth], has_void=True) == expected
        halved = fisa_loss(scores.bfloat16(), masks.bfloat16(), [truth], has_void=True)
    assert halved.dtype == torch.float32
    assert halved == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("void", ["nothing", ""])
def test_a_step_of_simo_changes_its_parameters_and_no_bit_of_others(void: str) -> None:
    network = random_fisa(replace(ARCH, void=void))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained = simo(network)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    loss = FisaLoss(network, CLASSES).train()
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3)
    for step in range(2):
        value = loss(IMAGES, MAPS, loss.draw_prompts(torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == trained.keys()


def test_training_lowers_the_loss() -> None:
    network = random_fisa()
    trained = simo(network)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    loss = FisaLoss(network, CLASSES).train()
    prompts = loss.draw_prompts(torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2)
    values = []
    for _ in range(30):
        value = loss(IMAGES, MAPS, prompts)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


def test_each_step_draws_a_synonym_per_class_and_void_comes_last() -> None:
    loss = FisaLoss(random_fisa(), CLASSES)
    drawn = [loss.draw_prompts(torch.Generator().manual_seed(seed)) for seed in range(12)]
    assert drawn[0].shape == (4, 16)
    assert len({tuple(each[0].tolist()) for each in drawn}) == 2
    assert len({tuple(each[3].tolist()) for each in drawn}) == 1


def test_training_images_have_the_size_of_the_generators_largest_input() -> None:
    loss = FisaLoss(random_fisa(), CLASSES)
    assert (loss.image_size, loss.label_size) == ((64, 128), (32, 64))
    assert loss.network.generator.size(*loss.image_size) == loss.image_size
