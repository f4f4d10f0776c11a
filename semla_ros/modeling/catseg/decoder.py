"""A stage of CAT-Seg's decoder (section 3.4): doubles the resolution, guided by intermediate features of CLIP."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DoubleConv(nn.Module):
    """3x3 convolution, GroupNorm and ReLU, twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(out_channels // 16, out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(out_channels // 16, out_channels),
            nn.ReLU(inplace=True),
        )


class ClassIndependent(NamedTuple):
    """The part of a decoder stage that is the same for all classes.

    Attributes:
        kernel: Kernel of the combined transposed convolution, (C, out_channels, 4, 4).
        added: Contribution of guidance and biases to its result, (B, out_channels, 2H, 2W).
    """

    kernel: Tensor
    added: Tensor


class Up(nn.Module):
    """Doubles the resolution: applies ``conv`` to ``up(x)`` and the guidance, concatenated.

    Everything up to the first normalisation is linear. The 2x2 transposed convolution and the 3x3 convolution are
    therefore computed as one 4x4 transposed convolution, with half the multiplications and no tensor in between. The
    contribution of guidance and biases is the same for all classes and computed once.
    """

    def __init__(self, in_channels: int, out_channels: int, guidance_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels - guidance_channels, 2, 2)
        self.conv = DoubleConv(in_channels, out_channels)

    def class_independent(self, guidance: Tensor) -> ClassIndependent:
        """Computes the part that is the same for all classes, from CLIP's features (B, G, 2H, 2W)."""
        first = self.conv.double_conv[0]
        assert isinstance(first, nn.Conv2d)
        assert self.up.bias is not None
        kernel = F.conv2d(self.up.weight, first.weight[:, : self.up.out_channels], padding=2)
        bias = self.up.bias[:, None, None].expand(len(guidance), -1, *guidance.shape[2:])
        return ClassIndependent(kernel, first(torch.cat([bias, guidance], 1)))

    def forward(self, x: Tensor, kernel: Tensor, added: Tensor) -> Tensor:
        """Doubles the resolution.

        Args:
            x: Feature maps of T classes, (B·T, C, H, W).
            kernel: See `ClassIndependent`.
            added: See `ClassIndependent`.

        Returns:
            Feature maps (B·T, out_channels, 2H, 2W).
        """
        x = F.conv_transpose2d(x, kernel, stride=2, padding=1).unflatten(0, (len(added), -1))
        x = (x + added[:, None]).flatten(0, 1)
        out: Tensor = self.conv.double_conv[1:](x)
        return out
