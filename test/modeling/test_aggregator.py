from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import ARCH
from torch import Tensor, nn

from semla_ros.modeling.catseg.aggregator import ClassAttention, LinearAttention, SwinBlock, WindowAttention, guided
from semla_ros.modeling.catseg.decoder import Up

COPIES = 5


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def concatenated_attention(layer: LinearAttention, tokens: Tensor, guidance: Tensor) -> Tensor:
    """Linear attention between classes as in the paper: tokens (L, N, C), guidance (N, G)."""
    guides = guidance.expand(len(tokens), -1, -1)
    query, key = (F.elu(linear(torch.cat([tokens, guides], -1))) + 1 for linear in (layer.q, layer.k))
    heads = (x.unflatten(-1, (layer.heads, -1)) for x in (query, key, layer.v(tokens)))
    query, key, value = heads
    scores = torch.einsum("lnhd,lmhd->lhnm", query, key)
    return torch.einsum("lhnm,lmhe->lnhe", scores / (scores.sum(-1, keepdim=True) + 1e-6), value).flatten(-2)


@torch.inference_mode()
def test_a_guided_linear_layer_equals_the_layer_on_the_concatenation() -> None:
    linear, x, guidance = nn.Linear(7, 5), torch.randn(2, 3, 4), torch.randn(2, 1, 3)
    expected = linear(torch.cat([x, guidance.expand(-1, 3, -1)], -1))
    assert torch.allclose(guided(linear, x, guidance), expected, atol=1e-6)


@torch.inference_mode()
@pytest.mark.parametrize("copies", [0, COPIES])
def test_one_weighted_padding_token_equals_that_many_copies(copies: int) -> None:
    layer = LinearAttention(8, 6, heads=2)
    x, guidance, pad, pad_guidance = torch.randn(1, 3, 4, 8), torch.randn(3, 6), torch.randn(8), torch.randn(6)
    tokens = torch.cat([x[0].transpose(0, 1), pad.expand(4, copies, -1)], 1)
    guides = torch.cat([guidance, pad_guidance.expand(copies, -1)])
    expected = concatenated_attention(layer, tokens, guides)[:, :3].transpose(0, 1)
    assert torch.allclose(layer(x, guidance[:, None], pad, pad_guidance, copies)[0], expected, atol=1e-6)


@torch.inference_mode()
def test_padding_tokens_change_the_result() -> None:
    layer = LinearAttention(8, 6, heads=2)
    inputs = torch.randn(1, 3, 4, 8), torch.randn(3, 1, 6), torch.randn(8), torch.randn(6)
    assert (layer(*inputs, 0) - layer(*inputs, COPIES)).abs().max() > 0.01


@torch.inference_mode()
@pytest.mark.parametrize("classes", [3, 8, 9])
def test_class_attention_is_padded_to_its_number_of_classes(classes: int) -> None:
    attention = ClassAttention(ARCH)
    for parameter in attention.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.5)
    x, guidance = torch.randn(1, classes, 4, 4, 16), torch.randn(classes, 8)
    pads = max(0, ARCH.padded_classes - classes)
    tokens = torch.cat([x[0].flatten(1, 2).transpose(0, 1), attention.padding_tokens[0].expand(16, pads, -1)], 1)
    guides = torch.cat([guidance, attention.padding_guidance[0].expand(pads, -1)])
    tokens = tokens + concatenated_attention(attention.attention, attention.norm1(tokens), guides)
    tokens = tokens + attention.MLP(attention.norm2(tokens))
    expected = x[0] + tokens[:, :classes].transpose(0, 1).unflatten(1, (4, 4))
    assert torch.allclose(attention(x, guidance)[0], expected, atol=1e-4)


@torch.inference_mode()
def test_pooled_class_attention_uses_averages_and_returns_to_the_grid() -> None:
    pooled, plain = ClassAttention(replace(ARCH, pooling=2)), ClassAttention(ARCH)
    plain.load_state_dict(pooled.state_dict())
    x, guidance = torch.randn(2, 3, 4, 4, 16), torch.randn(3, 8)
    out = pooled(x, guidance)
    assert out.shape == x.shape
    constant = x[:, :, :1, :1].expand_as(x)
    assert torch.allclose(pooled(constant, guidance), plain(constant, guidance), atol=1e-5)
    coarse = F.avg_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1).unflatten(0, (2, 3))
    attended = plain(coarse, guidance) - coarse
    between = (2 * attended[:, :, 0, 0] + attended[:, :, 0, 1]) / 3  # corners meet corners: a third of the way
    assert torch.allclose((out - x)[:, :, 0, 0], attended[:, :, 0, 0], atol=1e-5)
    assert torch.allclose((out - x)[:, :, 0, 1], between, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("shifted", [False, True])
def test_a_swin_block_mixes_only_tokens_of_one_window(shifted: bool) -> None:
    block = SwinBlock(8, 4, heads=2, grid=4, window=2, shifted=shifted).eval()
    x, guidance = torch.randn(1, 1, 4, 4, 8), torch.randn(1, 1, 4, 4, 4)
    before = block(x, guidance)
    windows = [range(2), range(2, 4)] if not shifted else [range(1), range(1, 3), range(3, 4)]
    for row in range(4):
        for column in range(4):
            nudged = x.clone()
            nudged[0, 0, row, column] += torch.randn(8)
            moved = (block(nudged, guidance) - before)[0, 0].abs().amax(-1) > 1e-7
            rows, columns = (next(w for w in windows if i in w) for i in (row, column))
            expected = torch.zeros(4, 4, dtype=torch.bool)
            expected[rows.start : rows.stop, columns.start : columns.stop] = True
            assert (moved == expected).all(), (row, column)


@torch.inference_mode()
def test_window_attention_equals_attention_within_each_window() -> None:
    layer = WindowAttention(8, 4, heads=2)
    x, guidance = torch.randn(1, 3, 4, 4, 8), torch.randn(1, 1, 4, 4, 4)
    out = layer(x, guidance, 2, None)
    tokens = x[0, 1, 2:, :2].reshape(4, 8)  # class 1, lower left window
    guided_tokens = torch.cat([tokens, guidance[0, 0, 2:, :2].reshape(4, 4)], -1)
    query, key, value = (
        y.unflatten(-1, (2, 4)) for y in (layer.q(guided_tokens), layer.k(guided_tokens), layer.v(tokens))
    )
    weights = (torch.einsum("ihd,jhd->hij", query, key) / 2).softmax(-1)
    expected = layer.proj(torch.einsum("hij,jhd->ihd", weights, value).flatten(1))
    assert torch.allclose(out[0, 1, 2:, :2].reshape(4, 8), expected, atol=1e-6)


def test_a_window_as_large_as_the_grid_shifts_nothing_and_has_no_mask() -> None:
    block = SwinBlock(8, 4, heads=2, grid=4, window=12, shifted=True)
    assert (block.window, block.shift, block.attn_mask) == (4, 0, None)


@torch.inference_mode()
def test_upsampling_equals_two_convolutions_of_the_concatenation() -> None:
    up, x, guidance = Up(10, 32, 3).eval(), torch.randn(6, 10, 5, 4), torch.randn(2, 3, 10, 8)
    joined = torch.cat([up.up(x), guidance.repeat_interleave(3, 0)], 1)
    assert torch.allclose(up(x, *up.class_independent(guidance)), up.conv.double_conv(joined), atol=1e-5)
