"""FISA's equations (1) to (5) against a computation with loops, written from the paper alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_fisa import ARCH, random_fisa
from torch import Tensor, nn

from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.mask_tokens import mask_tokens, visible_tokens
from semla_ros.modeling.fisa.network import Fisa

Array = NDArray[np.float64]
DRAW = torch.Generator().manual_seed(5)
PIXELS = torch.randn(1, 3, 32, 32, generator=DRAW)
TEXT = nn.functional.normalize(torch.randn(3, 16, generator=DRAW), dim=1)
MASKS = torch.randn(1, 5, 12, 20, generator=DRAW) - 2
MASKS[0, 2] = -1  # an empty mask
MASKS[0, 3] = 1  # the whole image


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def linear(layer: nn.Linear) -> Callable[[Array], Array]:
    return lambda x: array(layer.weight) @ x + array(layer.bias)


def norm(layer: nn.LayerNorm, x: Array) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + layer.eps) * array(layer.weight) + array(layer.bias)


def softmax(scores: Array) -> Array:
    exponential = np.exp(scores - scores.max())
    return exponential / exponential.sum()


def attend(query: Array, keys: list[Array], values: list[Array], bias: list[float], heads: int) -> Array:
    """One token's attention, head by head."""
    out = []
    for q, ks, vs in zip(
        np.split(query, heads),
        zip(*(np.split(k, heads) for k in keys), strict=True),
        zip(*(np.split(v, heads) for v in values), strict=True),
        strict=True,
    ):
        share = softmax(np.array([q @ k / np.sqrt(len(q)) + b for k, b in zip(ks, bias, strict=True)]))
        out.append(sum(s * v for s, v in zip(share, vs, strict=True)))
    return np.concatenate(out)


def rest_of_block(block: nn.Module, x: Array) -> Array:
    hidden = linear(block.mlp.c_fc)(norm(block.ln_2, x))
    return x + linear(block.mlp.c_proj)(hidden / (1 + np.exp(-1.702 * hidden)))


def has_pixel(mask: Array, row: int, column: int, grid: int) -> bool:
    """Whether a mask holds any pixel of a patch. Patch boundaries are rounded outwards to pixels."""
    height, width = mask.shape
    rows = range(row * height // grid, -(-(row + 1) * height // grid))
    columns = range(column * width // grid, -(-(column + 1) * width // grid))
    return any(mask[r, c] > 0 for r in rows for c in columns)


def expected_tokens(network: Fisa, arch: FisaArch) -> list[Array]:
    """Mask tokens after the last block, one token after the other."""
    visual, seve = network.clip.visual, network.seve
    image = [array(token) for token in visual.tokens(PIXELS)[0]]
    mask = [image[0]] * 5
    targets = [array(token) for token in TEXT]
    patches = [(r, c) for r in range(arch.grid) for c in range(arch.grid)]
    for index, block in enumerate(visual.transformer.resblocks):
        attn = block.attn
        f_q, f_k, f_v = linear(attn.q_proj), linear(attn.k_proj), linear(attn.v_proj)
        normed = [norm(block.ln_1, token) for token in image]
        k_img, v_img = [f_k(token) for token in normed], [f_v(token) for token in normed]
        new_mask = []
        for i, token in enumerate(mask):
            x = norm(block.ln_1, token)
            if index in arch.seve_layers:
                k_tgt = [linear(seve.g_k)(target) for target in targets]  # (4)
                v_tgt = [linear(seve.g_v)(target) for target in targets]
                read = attend(linear(seve.g_q)(x), k_tgt, v_tgt, [0.0] * 3, arch.seve_heads)  # (3)
                x = x + read if arch.seve_residual else read
            proposal = array(MASKS[0, i])
            holds = [has_pixel(proposal, r, c, arch.grid) for r, c in patches]
            if arch.reads_class_token:
                bias = [0.0, *(0.0 if held else -np.inf for held in holds)]  # (5)
            else:
                bias = [-np.inf, *(0.0 if held or not any(holds) else -np.inf for held in holds)]
            seen = attend(f_q(x), k_img, v_img, bias, arch.vision_heads)  # (1), (2)
            new_mask.append(rest_of_block(block, token + linear(attn.out_proj)(seen)))
        image = [
            rest_of_block(
                block, token + linear(attn.out_proj)(attend(f_q(x), k_img, v_img, [0.0] * 17, arch.vision_heads))
            )
            for token, x in zip(image, normed, strict=True)
        ]
        mask = new_mask
    return mask


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seve_layers": ()},
        {"seve_layers": (1,)},
        {"seve_residual": False},
        {"reads_class_token": False},
        {"seve_heads": 4, "seve_width": 4},
    ],
    ids=str,
)
@torch.inference_mode()
def test_mask_tokens_equal_a_computation_of_the_equations_with_loops(changes: dict[str, object]) -> None:
    arch = replace(ARCH, **changes)
    network = random_fisa(arch)
    visible = visible_tokens(MASKS, arch.grid, arch.reads_class_token)
    tokens = mask_tokens(network.clip.visual, PIXELS, visible, network.seve, arch.seve_layers, TEXT)
    assert array(tokens[0]) == pytest.approx(np.stack(expected_tokens(network, arch)), abs=1e-5)


@torch.inference_mode()
def test_class_scores_are_cosines_with_the_text_times_the_scale() -> None:
    network = random_fisa(replace(ARCH, adapter_layers=0, void=""))
    visual = network.clip.visual
    scores, masks = network(PIXELS, MASKS, TEXT)
    assert torch.equal(masks, MASKS)
    for score, token in zip(array(scores[0]), expected_tokens(network, network.arch), strict=True):
        feature = norm(visual.ln_post, token) @ array(visual.proj)
        cosines = [feature @ array(text) / np.linalg.norm(feature) / np.linalg.norm(array(text)) for text in TEXT]
        assert score == pytest.approx(80 * np.array(cosines), abs=1e-3)


@torch.inference_mode()
def test_void_is_scored_like_a_class_and_not_read() -> None:
    network = random_fisa(replace(ARCH, adapter_layers=0))
    with_void, _ = network(PIXELS, MASKS, TEXT)
    network.arch = replace(network.arch, void="")
    without, _ = network(PIXELS, MASKS, TEXT[:2])
    assert with_void.shape == (1, 5, 3)
    assert torch.allclose(with_void[..., :2], without, atol=1e-4)


@torch.inference_mode()
def test_the_distribution_adapter_adds_its_convolutions_to_each_mask_by_itself() -> None:
    adapter = random_fisa().distribution
    first, second = adapter.convolutions
    for mask, adjusted in zip(MASKS[0], adapter(MASKS)[0], strict=True):
        assert torch.allclose(adjusted, mask + second(first(mask[None]).relu())[0], atol=1e-5)


@torch.inference_mode()
def test_masks_are_adjusted_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = random_fisa().distribution
    together = adapter(MASKS)
    monkeypatch.setattr("semla_ros.modeling.fisa.distribution_adapter.VALUES", 1)
    assert torch.allclose(adapter(MASKS), together, atol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_an_untrained_distribution_adapter_changes_nothing(layers: int) -> None:
    network = Fisa(replace(ARCH, adapter_layers=layers))
    assert len(network.distribution.convolutions) == layers
    assert torch.equal(network.distribution(MASKS), MASKS)
