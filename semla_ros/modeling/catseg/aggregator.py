"""CAT-Seg's cost aggregation (sections 3.2 and 3.3): refines one feature vector per patch and class.

Tensors are (B, T, H, W, C): images, classes, height and width of the token grid, channels. Guidance has G channels. It
is the same for all classes (image features) or for all positions (text embeddings). Its part of a linear layer,
W [x; g] = W_x x + W_g g, is therefore computed only once. Spatial attention handles each class independently, and class
attention each position. Both process the tensor in parts, so that memory hardly grows with the number of classes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.catseg.architecture import CatSegArch

CPU_TOKENS = 4608  # tokens in one part on a CPU: activations of about 10 MB, which fit the caches, are fastest
TOKENS = 65536  # tokens in one part on a GPU


def in_parts(stage: Callable[[Tensor], Tensor], x: Tensor, dim: int) -> Tensor:
    """Applies a stage to a tensor in parts of at most `CPU_TOKENS` or `TOKENS` tokens, to limit its memory.

    Args:
        stage: Maps a part of the tensor to its result. Slices along ``dim`` do not depend on each other.
        x: Tokens (..., C).
        dim: Dimension that is split.
    """
    tokens = x.numel() // (x.shape[-1] * x.shape[dim])  # per slice
    size = max(1, (CPU_TOKENS if x.device.type == "cpu" else TOKENS) // tokens)
    return stage(x) if x.shape[dim] <= size else torch.cat([stage(part) for part in x.split(size, dim)], dim)


def guided(linear: nn.Linear, x: Tensor, guidance: Tensor) -> Tensor:
    """Applies a linear layer to x and its guidance, concatenated. The guidance is broadcast to the shape of x."""
    own, shared = linear.weight.split([x.shape[-1], guidance.shape[-1]], dim=1)
    return F.linear(x, own) + F.linear(guidance, shared, linear.bias)


class GuidedAttention(nn.Module):
    """Multi-head attention whose queries and keys depend on guidance, too."""

    def __init__(self, dim: int, guidance_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim + guidance_dim, dim)
        self.k = nn.Linear(dim + guidance_dim, dim)
        self.v = nn.Linear(dim, dim)


class WindowAttention(GuidedAttention):
    """Attention between the tokens of a window, guided by image features."""

    def __init__(self, dim: int, guidance_dim: int, heads: int) -> None:
        super().__init__(dim, guidance_dim, heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, guidance: Tensor, window: int, mask: Tensor | None) -> Tensor:
        """Attends within each window.

        Args:
            x: Tokens (B, T, H, W, C).
            guidance: Image features (B, 1, H, W, G).
            window: Side of a window, tokens; H and W are multiples of it.
            mask: Added to the attention scores, (windows, window², window²); None adds nothing.

        Returns:
            Tokens of the shape of x.
        """
        height, width = x.shape[2:4]
        query, key, value = (
            self._windows(y, window) for y in (guided(self.q, x, guidance), guided(self.k, x, guidance), self.v(x))
        )
        if mask is not None:
            mask = mask[:, None].to(query.dtype).repeat(len(query) // len(mask), 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(*x.shape[:2], height // window, width // window, window, window, -1)
        out: Tensor = self.proj(mixed.transpose(3, 4).reshape(x.shape))
        return out

    def _windows(self, x: Tensor, window: int) -> Tensor:
        x = x.unflatten(3, (-1, window)).unflatten(2, (-1, window)).transpose(3, 4)  # B T h w window window C
        return x.reshape(-1, window * window, self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class SwinBlock(nn.Module):
    """Window attention and MLP (Swin Transformer). With ``shifted``, windows are moved by half their side."""

    def __init__(self, dim: int, guidance_dim: int, heads: int, grid: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.window = min(window, grid)
        self.shift = window // 2 if shifted and grid > window else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, guidance_dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(OrderedDict(fc1=nn.Linear(dim, 4 * dim), act=nn.GELU(), fc2=nn.Linear(4 * dim, dim)))
        self.register_buffer("attn_mask", self._mask(grid) if self.shift else None)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B, T, H, W, C), guidance (B, 1, H, W, G); returns the shape of x."""
        y, shift = self.norm1(x), (-self.shift, -self.shift)
        if self.shift:
            y, guidance = y.roll(shift, (2, 3)), guidance.roll(shift, (2, 3))
        y = self.attn(y, guidance, self.window, self.attn_mask)
        if self.shift:
            y = y.roll((self.shift, self.shift), (2, 3))
        x = x + y
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _mask(self, grid: int) -> Tensor:
        """Mask (windows, window², window²) that is added to the attention scores.

        The shift is cyclic: windows at the border hold tokens from opposite sides of the image. The mask has -100
        between those, which makes their attention 0, and 0 elsewhere.
        """
        position = torch.arange(grid)
        part = (position >= grid - self.window).int() + (position >= grid - self.shift).int()
        region = (3 * part[:, None] + part).view(grid // self.window, self.window, -1, self.window)
        region = region.transpose(1, 2).reshape(-1, 1, self.window**2)
        return torch.where(region.mT == region, 0.0, -100.0)


class SpatialAttention(nn.Module):
    """Attention between positions, independent per class: two Swin blocks (CAT-Seg, section 3.2)."""

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        sizes = arch.aggregator_dim, arch.guidance_dim, arch.aggregator_heads, arch.grid, arch.window
        self.block_1 = SwinBlock(*sizes, shifted=False)
        self.block_2 = SwinBlock(*sizes, shifted=True)
        self.guidance_norm = nn.LayerNorm(arch.guidance_dim)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B, T, H, W, C), guidance (B, 1, H, W, G); returns the shape of x."""
        guidance = self.guidance_norm(guidance)
        return in_parts(lambda part: self.block_2(self.block_1(part, guidance), guidance), x, dim=1)


class LinearAttention(GuidedAttention):
    """Attention between classes, guided by text. It is linear in their number: elu + 1 replaces the softmax."""

    def forward(self, x: Tensor, guidance: Tensor, pad: Tensor, pad_guidance: Tensor, copies: int) -> Tensor:
        """Attends between the T classes at each of N positions.

        Args:
            x: Tokens (B, T, N, C).
            guidance: Text features (T, 1, G).
            pad: Padding token (C,).
            pad_guidance: Text features of the padding token (G,).
            copies: Number of padding tokens. They are equal, so that one is computed and weighted by their number.

        Returns:
            Tokens of the shape of x.
        """
        query, key = (self._feature(guided(linear, x, guidance)) for linear in (self.q, self.k))
        value = self._split(self.v(x))
        pad_key, pad_value = self._feature(guided(self.k, pad, pad_guidance)), self._split(self.v(pad))
        sum_key = key.sum(1) + copies * pad_key
        sum_key_value = (
            torch.einsum("btnhd,btnhe->bnhde", key, value) + copies * pad_key[..., None] * pad_value[..., None, :]
        )
        norm = torch.einsum("btnhd,bnhd->btnh", query, sum_key) + 1e-6
        out: Tensor = torch.einsum("btnhd,bnhde->btnhe", query, sum_key_value) / norm[..., None]
        return out.flatten(-2)

    def _feature(self, x: Tensor) -> Tensor:
        return self._split(F.elu(x) + 1)

    def _split(self, x: Tensor) -> Tensor:
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads


class ClassAttention(nn.Module):
    """Attention between classes, independent per position (CAT-Seg, section 3.3).

    The classes are padded to ``padded_classes`` with a learned token, because the published network was trained so.
    """

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        dim = arch.aggregator_dim
        self.pooling, self.padded_classes = arch.pooling, arch.padded_classes
        self.padding_tokens = nn.Parameter(torch.zeros(1, 1, dim))
        self.padding_guidance = nn.Parameter(torch.zeros(1, 1, arch.text_guidance_dim))
        self.attention = LinearAttention(dim, arch.text_guidance_dim, arch.aggregator_heads)
        self.MLP = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B, T, H, W, C), guidance (T, G); returns the shape of x."""
        pooled = self._resize(x, x.shape[2] // self.pooling)
        tokens = in_parts(lambda part: self._attend(part, guidance), pooled.flatten(2, 3), dim=2)
        return x + self._resize(tokens.view(pooled.shape), x.shape[2])

    def _attend(self, tokens: Tensor, guidance: Tensor) -> Tensor:
        """tokens (B, T, N, C) to the same shape."""
        pad = self.norm1(self.padding_tokens[0, 0])
        copies = max(0, self.padded_classes - tokens.shape[1])
        attended = self.attention(self.norm1(tokens), guidance[:, None], pad, self.padding_guidance[0, 0], copies)
        tokens = tokens + attended
        out: Tensor = tokens + self.MLP(self.norm2(tokens))
        return out

    def _resize(self, x: Tensor, side: int) -> Tensor:
        if x.shape[2] == side:
            return x
        maps = x.flatten(0, 1).permute(0, 3, 1, 2)
        if side < x.shape[2]:
            maps = F.avg_pool2d(maps, self.pooling)
        else:
            maps = F.interpolate(maps, (side, side), mode="bilinear", align_corners=True)
        out: Tensor = maps.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
        return out


class AggregatorLayer(nn.Module):
    """Spatial attention, then class attention."""

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        self.swin_block = SpatialAttention(arch)
        self.attention = ClassAttention(arch)

    def forward(self, x: Tensor, guidance: Tensor, text_guidance: Tensor) -> Tensor:
        """x (B, T, H, W, C), guidance (B, 1, H, W, G), text_guidance (T, G); returns the shape of x."""
        out: Tensor = self.attention(self.swin_block(x, guidance), text_guidance)
        return out
