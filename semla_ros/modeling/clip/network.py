"""CLIP as CAT-Seg uses it: one feature a patch instead of one a image, and the text encoder.

Module names are those of OpenAI's CLIP, so that published weights and adapters fit by name. Every projection is a
linear module of its own, so that an adapter can act on each.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.clip.prefix_tree import PrefixTree

PROMPTS = 32  # in one tree, whose attention grows with the square of its nodes


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, sees: Tensor | None) -> Tensor:
        """x (B, L, width) to the same; ``sees`` (L, L) bool says who attends to whom, None that all do to all."""
        query, key, value = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=sees)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(-2))
        return out


class ResidualAttentionBlock(nn.Module):
    """Attention and MLP, each after a LayerNorm and beside a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(), c_proj=nn.Linear(4 * width, width))
        )

    def forward(self, x: Tensor, sees: Tensor | None = None) -> Tensor:
        """x (B, L, width) to the same, see `Attention`."""
        x = x + self.attn(self.ln_1(x), sees)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out

    def dense(self, x: Tensor) -> Tensor:
        """The last visual block of CAT-Seg: each token's own value on the CLS token's residual, no mixing of tokens."""
        x = self.attn.out_proj(self.attn.v_proj(self.ln_1(x))) + x[:, :1]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads) for _ in range(layers))


class VisionTransformer(nn.Module):
    """The image encoder, giving a feature for every patch."""

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        width = arch.vision_width
        self.arch = arch
        self.conv1 = nn.Conv2d(3, width, arch.patch_size, arch.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(arch.position_grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, arch.vision_layers, arch.vision_heads)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, arch.embed_dim))

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encodes normalised images.

        Args:
            pixels: (B, 3, image_size, image_size).

        Returns:
            Projected features of CLS and every patch (B, 1 + grid², embed_dim), and the patch tokens after the two
            guidance layers, each (B, grid², vision_width).
        """
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        cls = self.class_embedding.expand(len(patches), 1, -1)
        x = self.ln_pre(torch.cat([cls, patches], 1) + self._positions())
        guidance = []
        *blocks, last = self.transformer.resblocks
        for index, block in enumerate(blocks):
            x = block(x)
            if index in self.arch.guidance_layers:
                guidance.append(x[:, 1:])
        return self.ln_post(last.dense(x)) @ self.proj, guidance  # type: ignore[operator]

    def _positions(self) -> Tensor:
        trained, grid = self.arch.position_grid, self.arch.grid
        if trained == grid:
            return self.positional_embedding
        cls, patches = self.positional_embedding[:1], self.positional_embedding[1:]
        square = patches.T.unflatten(1, (trained, trained))[None]
        resized = F.interpolate(square, (grid, grid), mode="bicubic", align_corners=False)
        return torch.cat([cls, resized[0].flatten(1).T])


class Clip(nn.Module):
    """Image and text encoder with a joint space."""

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        width = arch.text_width
        self.visual = VisionTransformer(arch)
        self.transformer = Transformer(width, arch.text_layers, arch.text_heads)
        self.token_embedding = nn.Embedding(arch.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.zeros(arch.context_length, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, arch.embed_dim))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encodes prompts, each distinct beginning once.

        Args:
            tokens: (N, context_length) int64, zero-padded; the end mark has the highest id.

        Returns:
            L2-normalised text embeddings (N, embed_dim).
        """
        return torch.cat([self._encode(PrefixTree.of(part)) for part in tokens.split(PROMPTS)])

    def _encode(self, tree: PrefixTree) -> Tensor:
        x = (self.token_embedding(tree.tokens) + self.positional_embedding[tree.depths])[None]
        for block in self.transformer.resblocks:
            x = block(x, tree.sees)
        return F.normalize(self.ln_final(x[0, tree.ends]) @ self.text_projection, dim=-1)
