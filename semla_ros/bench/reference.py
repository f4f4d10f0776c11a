"""CAT-Seg computed in the steps of the official code. Our network must give the same results in less time.

The volume has its channels before classes and positions and is permuted for every stage. Guidance is repeated for every
class and concatenated. Class attention runs over all padded classes. The last visual block projects queries and keys
that are not used. Prompts are encoded one by one with all their padding. Only modules are called, so that PEFT can
wrap them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.catseg.aggregator import ClassAttention, LinearAttention, SpatialAttention, WindowAttention
from semla_ros.modeling.catseg.decoder import Up
from semla_ros.modeling.catseg.network import Aggregator, CatSeg
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.vision import DenseVisionTransformer


def reference_text(clip: Clip, tokens: Tensor) -> Tensor:
    """Encodes prompts (N, context_length) to L2-normalised embeddings (N, embed_dim)."""
    causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
    x = clip.token_embedding(tokens) + clip.positional_embedding
    for block in clip.transformer.resblocks:
        x = block(x, causal)
    x = clip.ln_final(x)[torch.arange(len(x)), tokens.argmax(-1)]
    return F.normalize(x @ clip.text_projection, dim=-1)


def reference_logits(network: CatSeg, pixels: Tensor, text: Tensor) -> Tensor:
    """Images (B, 3, S, S) and text (T, embed_dim), T ≤ ``padded_classes``, to logits (B, T, out_grid, out_grid)."""
    arch, aggregator = network.arch, network.aggregator
    dense, early, late = _visual(network.clip.visual, pixels)
    features = _maps(dense, arch.grid)
    guidance = [network.upsample1(_maps(early, arch.grid)), network.upsample2(_maps(late, arch.grid))]
    x = _volume(aggregator, features, text)
    appearance = aggregator.guidance_projection(features).permute(0, 2, 3, 1)[:, None].expand(-1, len(text), -1, -1, -1)
    text_guidance = aggregator.text_guidance_projection(text)
    layer: Any
    for layer in aggregator.layers:
        x = _positions(layer.swin_block, x, appearance)
        x = x + _classes(layer.attention, x, text_guidance)
    logits = _decode(aggregator, x, guidance)
    return network.upsampling(logits, pixels, guidance[1]) if network.upsampling else logits


def _visual(vision: DenseVisionTransformer, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = vision.tokens(pixels)
    kept = []
    blocks: list[Any] = list(vision.transformer.resblocks)
    last = blocks.pop()
    for index, block in enumerate(blocks):
        x = block(x)
        if index in vision.guidance_layers:
            kept.append(x[:, 1:])
    y = last.ln_1(x)
    _, _, value = (last.attn.out_proj(proj(y)) for proj in (last.attn.q_proj, last.attn.k_proj, last.attn.v_proj))
    x = value + x[:, :1]
    x = x + last.mlp(last.ln_2(x))
    return (vision.ln_post(x) @ vision.proj)[:, 1:], kept[0], kept[1]


def _maps(tokens: Tensor, grid: int) -> Tensor:
    maps: Tensor = tokens.transpose(1, 2).unflatten(2, (grid, grid))
    return maps


def _volume(aggregator: Aggregator, features: Tensor, text: Tensor) -> Tensor:
    """Embedded similarity of every patch and class, (B, C, T, H, W)."""
    similarity = torch.einsum("bdhw,td->bthw", F.normalize(features, dim=1), text)
    x = aggregator.conv1(similarity.flatten(0, 1)[:, None])
    volume: Tensor = x.unflatten(0, similarity.shape[:2]).transpose(1, 2).contiguous()
    return volume


def _positions(layer: SpatialAttention, x: Tensor, appearance: Tensor) -> Tensor:
    """Attention over the positions, for each class."""
    guide = layer.guidance_norm(appearance.contiguous())
    tokens = x.permute(0, 2, 3, 4, 1).contiguous()
    tokens = _swin(layer.block_2, _swin(layer.block_1, tokens, guide), guide)
    out: Tensor = tokens.permute(0, 4, 1, 2, 3).contiguous()
    return out


def _swin(block: Any, x: Tensor, guidance: Tensor) -> Tensor:
    y, shift = block.norm1(x), block.shift
    y, guide = (each.roll((-shift, -shift), (2, 3)) for each in (y, guidance))
    y = _windows(block.attn, y, guide, block.window, block.attn_mask)
    x = x + y.roll((shift, shift), (2, 3))
    out: Tensor = x + block.mlp(block.norm2(x))
    return out


def _windows(attention: WindowAttention, x: Tensor, guidance: Tensor, side: int, mask: Tensor | None) -> Tensor:
    def cut(y: Tensor) -> Tensor:
        y = y.unflatten(3, (-1, side)).unflatten(2, (-1, side)).transpose(3, 4)
        return y.reshape(-1, side * side, y.shape[-1])

    query = attention.q(torch.cat([cut(x), cut(guidance)], -1))
    key = attention.k(torch.cat([cut(x), cut(guidance)], -1))
    query, key, value = (
        y.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for y in (query, key, attention.v(cut(x)))
    )
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask.repeat(len(scores) // len(mask), 1, 1)[:, None]
    mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    mixed = attention.proj(mixed).view(*x.shape[:2], x.shape[2] // side, x.shape[3] // side, side, side, -1)
    out: Tensor = mixed.transpose(3, 4).reshape(x.shape)
    return out


def _classes(layer: ClassAttention, x: Tensor, guidance: Tensor) -> Tensor:
    """Attention over the classes and learned tokens, ``padded_classes`` in all, for each position."""
    batch, dim, classes, height, width = x.shape
    missing, positions = layer.padded_classes - classes, batch * height * width
    padding = layer.padding_tokens.view(1, dim, 1, 1, 1).expand(batch, -1, missing, height, width)
    tokens = torch.cat([x, padding], 2).permute(0, 3, 4, 2, 1).reshape(positions, -1, dim)
    guides = torch.cat([guidance, layer.padding_guidance[0].expand(missing, -1)]).expand(positions, -1, -1)
    tokens = tokens + _linear_attention(layer.attention, layer.norm1(tokens), guides)
    tokens = tokens + layer.MLP(layer.norm2(tokens))
    padded: Tensor = tokens.view(batch, height, width, -1, dim).permute(0, 4, 3, 1, 2).contiguous()
    return padded[:, :, :classes]


def _linear_attention(layer: LinearAttention, x: Tensor, guidance: Tensor) -> Tensor:
    def heads(y: Tensor) -> Tensor:
        parted: Tensor = y.unflatten(-1, (layer.heads, -1))
        return parted

    query, key = (heads(F.elu(linear(torch.cat([x, guidance], -1))) + 1) for linear in (layer.q, layer.k))
    value = heads(layer.v(x)) / x.shape[1]
    summed = torch.einsum("nshd,nshe->nhde", key, value)
    norm = 1 / (torch.einsum("nshd,nhd->nsh", query, key.sum(1)) + 1e-6)
    out: Tensor = torch.einsum("nshd,nhde,nsh->nshe", query, summed, norm) * x.shape[1]
    return out.flatten(-2)


def _decode(aggregator: Aggregator, x: Tensor, guidance: list[Tensor]) -> Tensor:
    maps = x.transpose(1, 2).flatten(0, 1)
    ups = aggregator.decoder1, aggregator.decoder2
    for up, project, guide in zip(ups, aggregator.decoder_guidance_projection, guidance, strict=True):
        maps = _up(up, maps, project, guide)
    logits: Tensor = aggregator.head(maps)
    return logits.view(len(x), -1, *logits.shape[2:])


def _up(up: Up, maps: Tensor, project: nn.Module, guide: Tensor) -> Tensor:
    projected = project(guide).repeat_interleave(len(maps) // len(guide), 0)
    out: Tensor = up.conv.double_conv(torch.cat([up.up(maps), projected], 1))
    return out
