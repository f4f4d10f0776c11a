from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import ARCH, random_network
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semla_ros.modeling.catseg.architecture import STREETWORLD, VIT_B16, VIT_L14_336, CatSegArch
from semla_ros.modeling.catseg.network import CatSeg


@pytest.fixture(scope="module")
def network() -> CatSeg:
    return random_network()


def inputs(classes: int, images: int = 2) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(classes)
    pixels = torch.randn(images, 3, 32, 32, generator=draw)
    return pixels, F.normalize(torch.randn(classes, 16, generator=draw), dim=1)


@torch.inference_mode()
@pytest.mark.parametrize("classes", [1, 3, 8])
def test_logits_have_four_times_the_resolution_of_the_grid_for_every_class(network: CatSeg, classes: int) -> None:
    logits = network(*inputs(classes))
    assert logits.shape == (2, classes, 16, 16)
    assert logits.isfinite().all()
    assert logits.std() > 0.01


@torch.inference_mode()
def test_images_of_a_batch_do_not_influence_each_other(network: CatSeg) -> None:
    pixels, text = inputs(3)
    assert torch.allclose(network(pixels, text)[1:], network(pixels[1:], text), atol=1e-5)


@torch.inference_mode()
def test_the_order_of_classes_does_not_matter(network: CatSeg) -> None:
    pixels, text = inputs(5)
    order = torch.tensor([3, 0, 4, 2, 1])
    assert torch.allclose(network(pixels, text[order]), network(pixels, text)[:, order], atol=1e-5)


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(each.numel() for each in tree_leaves(out) if isinstance(each, Tensor))])
        return out


@torch.inference_mode()
def test_a_hundred_classes_need_no_tensor_larger_than_their_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = replace(ARCH, padded_classes=128)
    network = random_network(arch)
    monkeypatch.setattr("semla_ros.modeling.catseg.aggregator.CPU_TOKENS", 4 * arch.grid**2)
    with Largest() as largest:
        logits = network(*inputs(100, images=1))
    volume = 100 * arch.grid**2 * arch.aggregator_dim
    assert logits.shape == (1, 100, 16, 16)
    assert largest.elements <= volume
    monkeypatch.setattr("semla_ros.modeling.catseg.aggregator.CPU_TOKENS", 10**6)
    with Largest() as largest:
        assert torch.allclose(network(*inputs(100, images=1)), logits, atol=1e-5)
    assert largest.elements >= 4 * volume


@torch.inference_mode()
def test_of_more_than_the_padded_classes_the_least_similar_get_minus_100(network: CatSeg) -> None:
    pixels, text = inputs(41)  # with the mean similarity other classes would be kept
    logits = network(pixels, text)
    dense, _ = network.clip.visual(pixels)
    best = (F.normalize(dense[:, 1:], dim=-1) @ text.T).amax(1)
    for image in range(2):
        kept = set(best[image].topk(8).indices.tolist())
        left_out = {i for i in range(41) if (logits[image, i] == -100).all()}
        assert kept | left_out == set(range(41))
        assert not kept & left_out
        chosen = sorted(kept)
        alone = network(pixels[image : image + 1], text[chosen])
        assert torch.allclose(logits[image, chosen], alone[0], atol=1e-5)


@torch.inference_mode()
def test_pooling_before_class_attention_keeps_the_shape_and_changes_the_numbers() -> None:
    plain, pooled = random_network(), CatSeg(replace(ARCH, pooling=2)).eval()
    pooled.load_state_dict(plain.state_dict())
    one, other = plain(*inputs(3)), pooled(*inputs(3))
    assert one.shape == other.shape
    assert 1e-4 < (one - other).abs().max() < 10


def test_every_adapted_layer_has_an_effect_on_the_output() -> None:
    network = random_network()
    layers = network.adapted_layers()
    network.requires_grad_(True)
    tokens = torch.tensor([[49406, 320, 49407, *[0] * 13], [49406, 533, 736, 49407, *[0] * 12]])
    network(inputs(2)[0], network.clip.encode_text(tokens)).square().sum().backward()
    idle = [name for name, layer in layers.items() if layer.weight.grad is None or not layer.weight.grad.any()]
    assert idle == []
    every = {name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)}
    last = "clip.visual.transformer.resblocks.2.attn."
    assert every - layers.keys() == {last + "q_proj", last + "k_proj"}


@pytest.mark.parametrize("arch", [ARCH, STREETWORLD, VIT_B16, VIT_L14_336])
def test_an_architecture_is_restored_from_its_plain_values(arch: CatSegArch) -> None:
    assert CatSegArch.from_dict(arch.to_dict()) == arch


@pytest.mark.parametrize(
    ("arch", "parameters"), [(VIT_B16, 154_289_378), (VIT_L14_336, 433_726_946)], ids=["ViT-B/16", "ViT-L/14@336"]
)
def test_the_published_sizes_have_the_published_number_of_parameters(arch: CatSegArch, parameters: int) -> None:
    with torch.device("meta"):
        network = CatSeg(arch)
    assert sum(p.numel() for p in network.parameters()) + 1 == parameters  # CLIP's logit scale is left out
    assert arch.grid == 24
