"""CLIP's image encoder: one embedding per image for the navigator, one feature per patch for CAT-Seg."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.clip.transformer import Transformer


@dataclass(frozen=True)
class VisionSizes:
    """Sizes of a CLIP vision transformer.

    Attributes:
        image_size: Side of the square input, pixels.
        patch_size: Side of a patch, pixels.
        position_grid: Side of the patch grid that the position embedding was trained at. It is resized where the
            present grid, ``image_size // patch_size``, differs.
        embed_dim: Dimension D of the joint space of image and text.
        width: Width of the tokens.
        layers: Number of blocks.
        heads: Attention heads per block.
        activation: "quick_gelu" (OpenAI's models) or "gelu".
        position_resize: Interpolation of the position embedding, "bicubic" or "bilinear".
    """

    image_size: int
    patch_size: int
    position_grid: int
    embed_dim: int
    width: int
    layers: int
    heads: int
    activation: str = "quick_gelu"
    position_resize: str = "bicubic"

    @property
    def grid(self) -> int:
        """Patches per side of the input."""
        return self.image_size // self.patch_size


class VisionTransformer(nn.Module):
    """CLIP's image encoder: image to one embedding, that of the class token."""

    def __init__(self, sizes: VisionSizes) -> None:
        super().__init__()
        width = sizes.width
        self.sizes = sizes
        self.conv1 = nn.Conv2d(3, width, sizes.patch_size, sizes.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.position_grid**2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, sizes.layers, sizes.heads, sizes.activation)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, sizes.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeds normalised images: (B, 3, image_size, image_size) to (B, embed_dim), not L2-normalised."""
        x = self.tokens(pixels)
        for block in self.transformer.resblocks:
            x = block(x)
        out: Tensor = self.ln_post(x[:, 0]) @ self.proj
        return out

    def tokens(self, pixels: Tensor) -> Tensor:
        """Input of the first block: (B, 3, image_size, image_size) to class and patch tokens (B, 1 + grid², width)."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        cls = self.class_embedding.expand(len(patches), 1, -1)
        out: Tensor = self.ln_pre(torch.cat([cls, patches], 1) + self.positions())
        return out

    def positions(self) -> Tensor:
        """Position embedding at the present grid, (1 + grid², width): resized, the class token's kept."""
        trained, grid = self.sizes.position_grid, self.sizes.grid
        if trained == grid:
            return self.positional_embedding
        cls, patches = self.positional_embedding[:1], self.positional_embedding[1:]
        square = patches.T.unflatten(1, (trained, trained))[None]
        resized = F.interpolate(square, (grid, grid), mode=self.sizes.position_resize, align_corners=False)
        return torch.cat([cls, resized[0].flatten(1).T])


class DenseVisionTransformer(VisionTransformer):
    """CLIP's image encoder as CAT-Seg uses it: image to one feature per patch.

    Args:
        sizes: Sizes of the network.
        guidance_layers: Blocks, counted from 0, whose patch tokens are returned too.
    """

    def __init__(self, sizes: VisionSizes, guidance_layers: Sequence[int]) -> None:
        super().__init__(sizes)
        self.guidance_layers = tuple(guidance_layers)

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
        """Encodes normalised images.

        Args:
            pixels: (B, 3, image_size, image_size).

        Returns:
            Projected features of the class token and of every patch (B, 1 + grid², embed_dim), and the patch tokens
            after each of ``guidance_layers``, (B, grid², width) each.
        """
        x = self.tokens(pixels)
        guidance = []
        *blocks, last = self.transformer.resblocks
        for index, block in enumerate(blocks):
            x = block(x)
            if index in self.guidance_layers:
                guidance.append(x[:, 1:])
        return self.ln_post(last.dense(x)) @ self.proj, guidance  # type: ignore[operator]
