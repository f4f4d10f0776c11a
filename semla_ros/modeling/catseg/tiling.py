"""How an image is cut into inputs of the network: as a whole, or as overlapping windows plus the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resizes maps (B, C, H, W) bilinearly to a height and width."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False) if maps.shape[-2:] != size else maps


class Tiling(Protocol):
    """Cuts an image into crops for the network, and merges the logits of the crops into one result."""

    def crops(self, pixels: Tensor) -> Tensor:
        """Returns the crops (B, 3, h, w) of an image (1, 3, H, W)."""

    def blend(self, logits: Tensor) -> Tensor:
        """Returns probabilities (1, T, h', w') for logits (B, T, h, w) of the crops; classes are independent."""


class Plain:
    """The whole image in one pass.

    The segmenter stretches it to the network's square input: its aspect ratio is not kept, as in CAT-Seg.
    """

    def crops(self, pixels: Tensor) -> Tensor:
        """See `Tiling.crops`."""
        return pixels

    def blend(self, logits: Tensor) -> Tensor:
        """See `Tiling.blend`. The result has the size of the logits."""
        return logits.sigmoid()


@dataclass(frozen=True)
class SlidingWindow:
    """Tiling of SemLA's evaluation: the mean over overlapping windows, averaged with the whole image.

    Attributes:
        canvas: Side that the image is resized to, pixels.
        window: Side of a window, pixels.
        stride: Distance between two windows, pixels.
    """

    canvas: int = 640
    window: int = 384
    stride: int = 256

    def crops(self, pixels: Tensor) -> Tensor:
        """Returns the windows and, last, the whole image, each with side ``window``."""
        canvas = resized(pixels, (self.canvas, self.canvas))
        windows = [self._window(canvas, *corner) for corner in self._corners()]
        return torch.cat([*windows, resized(pixels, (self.window, self.window))])

    def blend(self, logits: Tensor) -> Tensor:
        """Returns the probabilities with side ``canvas``."""
        *windows, whole = resized(logits, (self.window, self.window)).sigmoid().split(1)
        total = logits.new_zeros(1, logits.shape[1], self.canvas, self.canvas)
        count = logits.new_zeros(self.canvas, self.canvas)
        for corner, window in zip(self._corners(), windows, strict=True):
            self._window(total, *corner).add_(window)
            self._window(count, *corner).add_(1)
        return total.div_(count).add_(resized(whole, (self.canvas, self.canvas))).div_(2)

    def _corners(self) -> list[tuple[int, int]]:
        """Upper left corners (y, x) of the windows."""
        offsets = range(0, self.canvas - self.window + 1, self.stride)
        return [(y, x) for y in offsets for x in offsets]

    def _window(self, maps: Tensor, y: int, x: int) -> Tensor:
        return maps[..., y : y + self.window, x : x + self.window]
