from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_fisa import ARCH, GENERATOR, random_fisa
from torch import Tensor, nn

from semla_ros.errors import BundleError
from semla_ros.modeling.clip.vision import VisionTransformer
from semla_ros.modeling.fisa.architecture import VIT_L14, FisaArch
from semla_ros.modeling.fisa.mask_tokens import mask_tokens, visible_tokens
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.simo import simo

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TEXT = F.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(2)), dim=1)


@pytest.fixture(scope="module")
def network() -> Fisa:
    return random_fisa()


def proposals(masks: int) -> Tensor:
    return torch.randn(2, masks, 8, 8, generator=torch.Generator().manual_seed(3))


def tokens_of(network: Fisa, masks: Tensor, layers: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    visible = visible_tokens(masks, ARCH.grid, reads_class_token=True)
    return mask_tokens(network.clip.visual, PIXELS, visible, network.seve, layers, TEXT)


def note(seen: list[Tensor], _: nn.Module, args: tuple[Tensor, ...]) -> None:
    seen.append(args[0])


@torch.inference_mode()
def test_image_tokens_keep_the_bits_of_plain_clip_with_any_number_of_masks(network: Fisa) -> None:
    visual = network.clip.visual
    plain = VisionTransformer(ARCH.vision)
    plain.load_state_dict(visual.state_dict())
    expected = [plain.tokens(PIXELS)]
    for block in plain.transformer.resblocks:
        expected.append(block(expected[-1]))
    for masks in (1, 7, 40):
        seen: list[Tensor] = []
        with ExitStack() as hooks:
            for block in visual.transformer.resblocks:
                hooks.enter_context(block.ln_1.register_forward_pre_hook(partial(note, seen)))
            tokens_of(network, proposals(masks))
        image_tokens = seen[::2]  # each block normalises image tokens, then mask tokens
        assert len(image_tokens) == ARCH.vision_layers
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(image_tokens, expected, strict=False))


@torch.inference_mode()
def test_a_mask_over_the_whole_image_without_seve_behaves_as_the_class_token(network: Fisa) -> None:
    visual = network.clip.visual
    plain = VisionTransformer(ARCH.vision)
    plain.load_state_dict(visual.state_dict())
    features = visual.ln_post(tokens_of(network, torch.ones(2, 3, 8, 8), layers=())) @ visual.proj
    for index in range(3):
        assert torch.allclose(features[:, index], plain(PIXELS), atol=1e-5)


@torch.inference_mode()
def test_masks_do_not_influence_each_other(network: Fisa) -> None:
    masks = proposals(6)
    together = tokens_of(network, masks)
    for index in range(6):
        assert torch.allclose(tokens_of(network, masks[:, index : index + 1])[:, 0], together[:, index], atol=1e-5)


@pytest.mark.parametrize("reads_class_token", [True, False])
@torch.inference_mode()
def test_an_empty_mask_gives_finite_scores(reads_class_token: bool) -> None:
    network = random_fisa(replace(ARCH, adapter_layers=0, reads_class_token=reads_class_token))
    masks = torch.full((2, 3, 8, 8), -9.0)
    masks[:, 0, :2, :2] = 9
    scores, _ = network(PIXELS, masks, TEXT)
    assert scores.isfinite().all()
    assert torch.allclose(scores[:, 1], scores[:, 2], atol=1e-5)
    assert (scores[:, 0] - scores[:, 1]).abs().max() > 0.01


@torch.inference_mode()
def test_no_masks_give_no_scores(network: Fisa) -> None:
    scores, masks = network(PIXELS, proposals(0), TEXT)
    assert scores.shape == (2, 0, 4)
    assert masks.shape == (2, 0, 8, 8)


@torch.inference_mode()
def test_a_mask_sees_the_patches_that_it_holds_any_pixel_of() -> None:
    masks = torch.full((1, 1, 8, 8), -1.0)
    masks[0, 0, 3, 3], masks[0, 0, 7, 0] = 1, 1
    seen = visible_tokens(masks, 4, reads_class_token=True)[0, 0]
    assert seen.nonzero().flatten().tolist() == [0, 1 + 4 * 1 + 1, 1 + 4 * 3]


@torch.inference_mode()
def test_classes_change_the_mask_tokens_only_with_seve(network: Fisa) -> None:
    masks, other = proposals(3), TEXT.flip(1)
    for layers, changes in ((ARCH.seve_layers, True), ((), False)):
        visible = visible_tokens(masks, ARCH.grid, reads_class_token=True)
        one, two = (mask_tokens(network.clip.visual, PIXELS, visible, network.seve, layers, t) for t in (TEXT, other))
        assert torch.equal(one, two) is not changes


def test_the_generator_proposes_the_same_masks_in_training(network: Fisa) -> None:
    images = torch.randint(0, 256, (1, 40, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    expected = network.generator(images)
    network.train()
    assert torch.equal(network.generator(images), expected)
    network.eval()
    assert expected.shape == (1, 6, 16, 24)  # a fourth of 64 x 96


@pytest.mark.parametrize(
    ("image", "resized"),
    [
        ((480, 640), (800, 1056)),
        ((1, 1), (800, 800)),
        ((3000, 4000), (800, 1056)),
        ((100, 1000), (128, 1344)),
        ((1, 4000), (32, 1344)),
    ],
)
def test_the_generators_input_keeps_the_aspect_ratio_up_to_multiples_of_32(
    network: Fisa, image: tuple[int, int], resized: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network.generator, "short", 800)
    monkeypatch.setattr(network.generator, "long", 1333)
    assert network.generator.size(*image) == resized


def test_simo_trains_seve_and_the_query_projections_and_nothing_else(network: Fisa) -> None:
    names = set(simo(network))
    queries = {f"clip.visual.transformer.resblocks.{i}.attn.q_proj" for i in range(3)}
    seve = {"seve.g_q", "seve.g_k", "seve.g_v", "distribution.convolutions.0", "distribution.convolutions.1"}
    assert names == {f"{module}.{kind}" for module in queries | seve for kind in ("weight", "bias")}
    assert names <= dict(network.named_parameters()).keys()


def test_at_vit_l14_simo_trains_the_papers_26_million_parameters() -> None:
    with torch.device("meta"):
        network = Fisa(VIT_L14)
    trained = simo(network)
    queries = sum(p.numel() for name, p in trained.items() if "q_proj" in name)
    seve = sum(p.numel() for name, p in trained.items() if name.startswith("seve."))
    adapter = sum(p.numel() for name, p in trained.items() if name.startswith("distribution."))
    assert (queries, seve, adapter) == (25_190_400, 1_246_720, 153)
    assert round((queries + seve + adapter) / 1e6) == 26
    assert sum(p.numel() for p in network.clip.visual.parameters()) == 303_966_208 + 1024 * (24**2 - 16**2)


def test_adapters_change_the_linear_layers_of_clip_and_no_others(network: Fisa) -> None:
    layers = network.adapted_layers()
    assert all(name.startswith("clip.") for name in layers)
    assert len(layers) == 6 * (ARCH.vision_layers + ARCH.text_layers)
    assert layers.keys() == {
        name for name, module in network.named_modules() if isinstance(module, nn.Linear) and name.startswith("clip.")
    }


def test_every_adapted_layer_has_an_effect_on_the_output() -> None:
    network = random_fisa().requires_grad_(True)
    text = torch.tensor([[49406, 320, 49407, *[0] * 13], [49406, 533, 736, 49407, *[0] * 12]])
    scores, _ = network(PIXELS, proposals(4), network.clip.encode_text(text))
    scores.square().sum().backward()
    idle = [name for name, layer in network.adapted_layers().items() if not layer.weight.grad.any()]
    assert idle == []


@pytest.mark.parametrize("arch", [ARCH, VIT_L14, replace(ARCH, seve_layers=(), things=("car",))])
def test_an_architecture_is_restored_from_its_plain_values(arch: FisaArch) -> None:
    assert FisaArch.from_dict(arch.to_dict()) == arch


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seve_layers": (0, 3)}, r"seve_layers\): got \(0, 3\), expected layers from 0 to 2"),
        ({"seve_heads": 3}, "seve_width.*expected a multiple of 3"),
        ({"vision_heads": 3}, "vision_width.*expected a multiple of 3"),
        ({"image_size": 4}, "expected 1 to 128 patches per side"),
        ({"image_size": 0}, "image_size.*expected a whole number from 1"),
        ({"image_size": 3.5}, "image_size.*expected a whole number from 1"),
        ({"adapter_layers": 40}, "adapter_layers.*expected at most 16"),
        ({"generator_long": 1_000_000}, "generator_long.*expected a whole number from 1 to 4096"),
        ({"seve_layers": (True,)}, "seve_layers.*expected layers from 0 to 2"),
        ({"logit_scale": 0}, "logit_scale.*expected a number from 1 to 1000"),
        ({"score_threshold": 2}, "score_threshold.*expected a number from 0 to 1"),
        ({"generator": 3}, "generator.*expected a mapping"),
        ({"activation": "relu"}, "activation.*expected quick_gelu or gelu"),
        ({"things": "car"}, "things.*expected a list of class names"),
        ({"void": None}, "void.*expected a text"),
        ({"seve_residual": 1}, "seve_residual.*expected true or false"),
    ],
)
def test_values_that_make_no_network_are_refused_naming_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        replace(ARCH, **changes)


SWIN: Any = GENERATOR["backbone_config"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**GENERATOR, "backbone_config": {"model_type": "timm_backbone"}}, "unknown backbone.*got timm_backbone"),
        ({**GENERATOR, "backbone": "microsoft/swin-tiny"}, "unknown backbone"),
        ({**GENERATOR, "backbone_config": "swin"}, "configuration that makes no mask generator"),
        ({**GENERATOR, "feature_size": 33}, "configuration that makes no mask generator"),
        ({**GENERATOR, "num_queries": "many"}, "configuration that makes no mask generator"),
        ({**GENERATOR, "num_labels": 20_000}, r"much memory \(generator.num_labels\): got 20000.*at most 10000"),
        ({**GENERATOR, "backbone_config": {**SWIN, "num_labels": 20_000}}, "much memory.*backbone_config.num_labels"),
        ({**GENERATOR, "backbone_config": {**SWIN, "depths": [1, 1, 1, 300]}}, "much memory.*backbone_config.depths"),
        ({**GENERATOR, "backbone_config": {**SWIN, "window_size": 70}}, "much memory.*backbone_config.window_size"),
    ],
    ids=[
        "another backbone", "a backbone to download", "no backbone", "a size that does not fit", "a text",
        "labels", "labels of the backbone", "blocks", "windows",
    ],
)  # fmt: skip
def test_a_configuration_that_makes_no_generator_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        Fisa(replace(ARCH, generator=config))


def test_without_transformers_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BundleError, match=r"no transformers.*pip install '\.\[workshop\]'"):
        Fisa(ARCH)


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = torch.utils._pytree.tree_leaves(out)
        self.elements = max([self.elements, *(each.numel() for each in leaves if isinstance(each, Tensor))])
        return out


@torch.inference_mode()
def test_memory_grows_with_masks_times_patches_and_not_with_their_square(network: Fisa) -> None:
    largest = []
    for masks in (1000, 2000, 3000):
        with Largest() as record:
            network(PIXELS[:1], proposals(masks)[:1], TEXT)
        largest.append(record.elements)
    growth = [after - before for before, after in pairwise(largest)]
    assert growth[0] == growth[1]
    assert largest[0] <= 1000 * max(4 * 8 * 8, 4 * ARCH.vision_width)
