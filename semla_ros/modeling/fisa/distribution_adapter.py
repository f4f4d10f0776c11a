"""The Distribution Adapter: adjusts proposed masks to what CLIP prefers to look at."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

VALUES = 2**25  # activations at a time, where no gradient is needed: 128 MiB


class DistributionAdapter(nn.Module):
    """A few convolutions over each mask by itself, whose output is added to the mask.

    The last one starts at zero, so that training begins with the proposals.

    Args:
        layers: Number of 3x3 convolutions, with a ReLU between two of them; 0 changes nothing.
        channels: Channels between them.
    """

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        widths = [1, *[channels] * (layers - 1), 1] if layers else []
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        if layers:
            nn.init.zeros_(self.convolutions[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.convolutions[-1].bias)  # type: ignore[arg-type]

    def forward(self, proposals: Tensor) -> Tensor:
        """Logits of masks (B, m, h, w) to adjusted logits of the same shape."""
        if not self.convolutions or not proposals.numel():
            return proposals
        maps = proposals.flatten(0, 1)[:, None]
        at_a_time = len(maps) if torch.is_grad_enabled() else max(1, VALUES // (self.channels * maps[0].numel()))
        return torch.cat([self._adjusted(part) for part in maps.split(at_a_time)]).view_as(proposals)

    def _adjusted(self, maps: Tensor) -> Tensor:
        x = maps
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x.relu() if index else x)
        return maps + x
