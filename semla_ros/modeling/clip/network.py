"""CLIP as CAT-Seg uses it: one feature per patch instead of one per image, and the text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.clip.prefix_tree import PrefixTree
from semla_ros.modeling.clip.transformer import Transformer
from semla_ros.modeling.clip.vision import DenseVisionTransformer, VisionSizes

PROMPTS = 32  # per prefix tree: attention in a tree grows with the square of its nodes


@dataclass(frozen=True)
class TextSizes:
    """Sizes of CLIP's text encoder.

    Attributes:
        width: Width of the tokens.
        layers: Number of blocks.
        heads: Attention heads per block.
        context_length: Tokens per prompt, padding included.
        vocab_size: Number of different tokens.
        activation: "quick_gelu" (OpenAI's models) or "gelu".
    """

    width: int
    layers: int
    heads: int
    context_length: int = 77
    vocab_size: int = 49408
    activation: str = "quick_gelu"


class Clip(nn.Module):
    """Image and text encoder with a joint space.

    Args:
        vision: Sizes of the image encoder; its ``embed_dim`` is the dimension of the joint space.
        text: Sizes of the text encoder.
        guidance_layers: See `DenseVisionTransformer`.
    """

    def __init__(self, vision: VisionSizes, text: TextSizes, guidance_layers: Sequence[int]) -> None:
        super().__init__()
        self.visual = DenseVisionTransformer(vision, guidance_layers)
        self.transformer = Transformer(text.width, text.layers, text.heads, text.activation)
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.positional_embedding = nn.Parameter(torch.zeros(text.context_length, text.width))
        self.ln_final = nn.LayerNorm(text.width)
        self.text_projection = nn.Parameter(torch.zeros(text.width, vision.embed_dim))

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encodes prompts. What several prompts begin with is computed once.

        Args:
            tokens: (N, context_length) int64, zero-padded; the end token has the highest id.

        Returns:
            L2-normalised text embeddings (N, embed_dim).
        """
        return torch.cat([self._encode(PrefixTree.of(part)) for part in tokens.split(PROMPTS)])

    def _encode(self, tree: PrefixTree) -> Tensor:
        x = (self.token_embedding(tree.tokens) + self.positional_embedding[tree.depths])[None]
        for block in self.transformer.resblocks:
            x = block(x, tree.mask)
        return F.normalize(self.ln_final(x[0, tree.ends]) @ self.text_projection, dim=-1)
