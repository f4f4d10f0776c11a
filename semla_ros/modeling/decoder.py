"""CAT-Seg's decoder: twice the resolution, twice, guided by intermediate CLIP features."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class DoubleConv(nn.Module):
    """(3x3 convolution, GroupNorm, ReLU) twice, the first convolution taking its guidance in."""

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

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B·T, C, H, W), guidance (B, G, H, W): a convolution of [x; g] is one of x plus one of g, done once."""
        first = self.double_conv[0]
        assert isinstance(first, nn.Conv2d)
        own, shared = first.weight.split([x.shape[1], guidance.shape[1]], dim=1)
        x = F.conv2d(x, own, padding=1).unflatten(0, (len(guidance), -1))
        x = (x + F.conv2d(guidance, shared, padding=1)[:, None]).flatten(0, 1)
        out: Tensor = self.double_conv[1:](x)
        return out


class Up(nn.Module):
    """Doubles the resolution and takes guidance in."""

    def __init__(self, in_channels: int, out_channels: int, guidance_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, in_channels - guidance_channels, 2, 2)
        self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """x (B·T, C, H, W), guidance (B, G, 2H, 2W) to (B·T, out_channels, 2H, 2W)."""
        out: Tensor = self.conv(self.up(x), guidance)
        return out
