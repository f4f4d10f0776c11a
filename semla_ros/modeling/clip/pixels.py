"""The pixels of images as CLIP's image encoder takes them."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)  # red, green and blue, for values from 0 to 255
CLIP_STD = (68.5005327, 66.6321579, 70.3231630)


def normalised(images: Tensor) -> Tensor:
    """Normalises images by CLIP's mean and standard deviation.

    Args:
        images: (B, H, W, 3) uint8, RGB.

    Returns:
        (B, 3, H, W) float32, on the device of the images.
    """
    pixels = images.permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return pixels.sub_(mean).div_(std)
