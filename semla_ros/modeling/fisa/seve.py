"""SEVE, first half: mask tokens read the text of the classes before they look at the image (equations 3 and 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Seve(nn.Module):
    """Attention of mask tokens to the classes. The same one serves all layers of the image encoder.

    Args:
        vision_width: Channels C of the mask tokens.
        text_width: Channels D of the class tokens: the projections to keys and values take text to vision.
        width: Channels of queries and keys.
        heads: Attention heads; they divide both widths.
        residual: Whether the mask tokens are added to what they read.
    """

    def __init__(self, vision_width: int, text_width: int, width: int, heads: int, residual: bool) -> None:
        super().__init__()
        self.heads, self.residual = heads, residual
        self.g_q = nn.Linear(vision_width, width)
        self.g_k = nn.Linear(text_width, width)
        self.g_v = nn.Linear(text_width, vision_width)

    def class_tokens(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the classes' text embeddings (T, D), each (1, heads, T, channels). All layers use them."""
        # (4) k_tgt, v_tgt = g_k([TGT]), g_v([TGT])
        return self._per_head(self.g_k(text[None])), self._per_head(self.g_v(text[None]))

    def forward(self, mask: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Mask tokens that have read the classes, [MASK]^.

        Args:
            mask: Mask tokens (B, m, C).
            key: From `class_tokens`.
            value: Likewise.

        Returns:
            (B, m, C).
        """
        query = self._per_head(self.g_q(mask))  # (4) q_mask = g_q([MASK])
        images = len(mask)
        read = F.scaled_dot_product_attention(  # (3) [MASK]^ = σ(q_mask k_tgtᵀ) v_tgt
            query, key.expand(images, -1, -1, -1), value.expand(images, -1, -1, -1)
        )
        out: Tensor = read.transpose(1, 2).flatten(-2)
        return mask + out if self.residual else out

    def _per_head(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return out
