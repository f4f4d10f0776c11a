"""CAT-Seg's results before a pixel gets the most probable class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from semla_ros.modeling.base import Mode
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter


@torch.inference_mode()
def logits_of(segmenter: CatSegSegmenter, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits (T, out_grid, out_grid) of the plain mode for an image (H, W, 3) uint8."""
    return segmenter._logits(segmenter._crops(rgb, "plain"))[0].cpu().numpy()


@torch.inference_mode()
def probabilities_of(segmenter: CatSegSegmenter, rgb: NDArray[np.uint8], mode: Mode = "plain") -> NDArray[np.float32]:
    """One probability per class and pixel, (T, H, W), for an image (H, W, 3) uint8.

    CAT-Seg decides about each class independently (sigmoid): the probabilities of a pixel do not sum to 1.
    """
    logits = segmenter._logits(segmenter._crops(rgb, mode))
    return torch.cat(list(segmenter._probabilities(logits, mode, rgb.shape[:2]))).cpu().numpy()
