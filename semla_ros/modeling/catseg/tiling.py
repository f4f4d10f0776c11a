"""Ways of looking at a image: squeezed into one square, or through a sliding window besides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


def resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (B, C, H, W) at another height and width, bilinear."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=False) if maps.shape[-2:] != size else maps


class Tiling(Protocol):
    """Cuts what the network sees out of a image, and puts together what it said."""

    def crops(self, pixels: Tensor) -> Tensor:
        """A image (1, 3, H, W) to crops (B, 3, h, w)."""

    def blend(self, logits: Tensor) -> Tensor:
        """Logits of the crops (B, T, h, w) to probabilities (1, T, h', w'); each class stands alone."""


class Plain:
    """The whole image, once."""

    def crops(self, pixels: Tensor) -> Tensor:
        """The image itself."""
        return pixels

    def blend(self, logits: Tensor) -> Tensor:
        """Its probabilities, in the size of the logits."""
        return logits.sigmoid()


@dataclass(frozen=True)
class SlidingWindow:
    """SemLA's evaluation: the mean of overlapping windows, and the mean of that and of the whole image.

    Attributes:
        canvas: Side the image is resized to.
        window: Side of a window.
        stride: Distance between windows.
    """

    canvas: int = 640
    window: int = 384
    stride: int = 256

    def crops(self, pixels: Tensor) -> Tensor:
        """The windows, and last the whole image, each ``window`` square."""
        image = resized(pixels, (self.canvas, self.canvas))
        parts = [self._window(image, *corner) for corner in self._corners()]
        return torch.cat([*parts, resized(pixels, (self.window, self.window))])

    def blend(self, logits: Tensor) -> Tensor:
        """Probabilities on the canvas."""
        *parts, whole = resized(logits, (self.window, self.window)).sigmoid().split(1)
        total = logits.new_zeros(1, logits.shape[1], self.canvas, self.canvas)
        count = logits.new_zeros(self.canvas, self.canvas)
        for corner, part in zip(self._corners(), parts, strict=True):
            self._window(total, *corner).add_(part)
            self._window(count, *corner).add_(1)
        return total.div_(count).add_(resized(whole, (self.canvas, self.canvas))).div_(2)

    def _corners(self) -> list[tuple[int, int]]:
        places = range(0, self.canvas - self.window + 1, self.stride)
        return [(y, x) for y in places for x in places]

    def _window(self, maps: Tensor, y: int, x: int) -> Tensor:
        return maps[..., y : y + self.window, x : x + self.window]
