"""Enlarges CAT-Seg's logits along the edges of the image. The published networks do without it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.catseg.architecture import CatSegArch

NEIGHBOURS = 9  # the logits of 3x3 cells
CENTRE = 4


class GuidedUpsampling(nn.Module):
    """Computes each logit of the result as a weighted mean of the 3x3 nearest coarse logits.

    This is the upsampling of RAFT (ECCV 2020, section 3.3). The weights come from the pixels and from CLIP's features.
    They are the same for all classes, so that the cost hardly grows with their number. Layers that mix channels are
    linear ones: adapters change them.

    Args:
        arch: Sizes. ``upsampling`` is the factor f, ``upsampling_dim`` the number of channels.
    """

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        dim = arch.upsampling_dim
        self.factor, self.cell = arch.upsampling, arch.patch_size // (4 * arch.upsampling)
        self.pixels = nn.Linear(3 * self.cell**2, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.surroundings = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 2 * dim)
        self.fc2 = nn.Linear(2 * dim, NEIGHBOURS)
        self.context = nn.Linear(arch.decoder_guidance_dims[1], self.factor**2 * NEIGHBOURS)
        with torch.no_grad():
            self.fc2.bias[CENTRE] += 2.0  # each pixel begins with mostly the logit of its own cell

    def forward(self, logits: Tensor, pixels: Tensor, features: Tensor) -> Tensor:
        """Enlarges logits by the factor f.

        Args:
            logits: (B, T, h, w).
            pixels: Images (B, 3, H, W), normalised; H = h f c and W = w f c for cells of c x c pixels.
            features: CLIP's features (B, G, h, w).

        Returns:
            Logits (B, T, h f, w f).
        """
        weights = self._weights(pixels, features)  # (B, 9, f², h, w)
        near = F.unfold(F.pad(logits, (1, 1, 1, 1), mode="replicate"), 3)
        near = near.view(*logits.shape[:2], NEIGHBOURS, *logits.shape[2:])
        out: Tensor = F.pixel_shuffle(torch.einsum("btkhw,bkshw->btshw", near, weights).flatten(1, 2), self.factor)
        return out

    def _weights(self, pixels: Tensor, features: Tensor) -> Tensor:
        """Weight of each of the 3x3 cells for each of the f² pixels within a cell, (B, 9, f², h, w)."""
        x = self.norm1(self.pixels(F.pixel_unshuffle(pixels, self.cell).permute(0, 2, 3, 1)))  # (B, h f, w f, dim)
        x = x + self.surroundings(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.fc2(F.relu(self.fc1(self.norm2(x))))
        fine = F.pixel_unshuffle(x.permute(0, 3, 1, 2), self.factor).unflatten(1, (NEIGHBOURS, -1))
        context = self.context(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).unflatten(1, (NEIGHBOURS, -1))
        weights: Tensor = (fine + context).softmax(1)
        return weights
