"""The most probable of many maps at each pixel, when not all of them fit into memory."""

from __future__ import annotations

import torch
from torch import Tensor

from semla_ros.modeling.base import UNDEFINED


class RunningMaximum:
    """The maximum over maps that arrive a few at a time: no tensor holds all of them at the size of the image.

    Args:
        size: Height and width of the maps.
        device: Where the maps are.

    Attributes:
        highest: Maximum so far (H, W) float32; -1 before the first maps, and NaN where any value was NaN.
        index: Number of the map where it lies, (H, W) int64, counted over all maps; `UNDEFINED` before the first maps.
    """

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.highest = torch.full(size, -1.0, device=device)
        self.index = torch.full(size, UNDEFINED, dtype=torch.int64, device=device)
        self._seen = 0

    def update(self, maps: Tensor) -> None:
        """Takes the next maps (C, H, W) float32. What this allocates is freed before the next ones are computed."""
        values, indices = maps.max(0)
        torch.where(values > self.highest, indices.add_(self._seen), self.index, out=self.index)
        torch.maximum(self.highest, values, out=self.highest)
        self._seen += len(maps)

    def defined(self) -> tuple[Tensor, Tensor]:
        """Returns the maximum and its index, with 0 and `UNDEFINED` where any value was NaN."""
        undefined = self.highest.isnan()
        return self.highest.masked_fill(undefined, 0), self.index.masked_fill(undefined, UNDEFINED)
