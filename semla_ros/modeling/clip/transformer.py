"""The transformer that CLIP's image and text encoders share.

Module names are those of OpenAI's CLIP, so that published weights and adapters fit by name. Query, key and value have
a linear module each (OpenAI fuses them), so that an adapter can change each of them.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU: x · sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Applies it to every element; any shape."""
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mixes tokens.

        Args:
            x: Tokens (B, L, width).
            mask: (L, L) bool, true where the token of a row attends to the token of a column; None means everywhere.

        Returns:
            Tokens (B, L, width).
        """
        return self.mix(self.query(x), *self.key_value(x), mask)

    def query(self, x: Tensor) -> Tensor:
        """Queries (B, heads, L, width / heads) of tokens (B, L, width)."""
        return self._per_head(self.q_proj(x))

    def key_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens (B, L, width), each (B, heads, L, width / heads)."""
        return self._per_head(self.k_proj(x)), self._per_head(self.v_proj(x))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns for every query the values of the tokens that it attends to, projected: (B, L, width)."""
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(-2))
        return out

    def _per_head(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return out


class ResidualAttentionBlock(nn.Module):
    """Attention and MLP, each with a LayerNorm before it and a residual connection around it.

    Args:
        width: Width of the tokens.
        heads: Attention heads; they divide the width.
        activation: Key of `ACTIVATIONS`, for the MLP.
    """

    def __init__(self, width: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        mlp = OrderedDict(
            c_fc=nn.Linear(width, 4 * width), gelu=ACTIVATIONS[activation](), c_proj=nn.Linear(4 * width, width)
        )
        self.mlp = nn.Sequential(mlp)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, L, width) to tokens of the same shape; ``mask`` as in `Attention.forward`."""
        return self.after_attention(x, self.attn(self.ln_1(x), mask))

    def after_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block: adds what attention returned to the tokens (B, L, width), then the MLP."""
        x = x + attended
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out

    def dense(self, x: Tensor) -> Tensor:
        """Computes the block without attention between tokens, as CAT-Seg uses the last block of the image encoder.

        Each token takes its own value vector, so that the features of a patch stay its own (MaskCLIP, ECCV 2022). As in
        the published code, the residual of the class token (token 0) is added to every token.

        Args:
            x: Tokens (B, L, width).

        Returns:
            Tokens (B, L, width).
        """
        return self.after_attention(x[:, :1], self.attn.out_proj(self.attn.v_proj(self.ln_1(x))))


class Transformer(nn.Module):
    """A stack of `ResidualAttentionBlock`."""

    def __init__(self, width: int, layers: int, heads: int, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(width, heads, activation) for _ in range(layers))
