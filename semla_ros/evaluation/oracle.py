"""What limits a segmenter that classifies proposed masks (FISA, Fig. 2): true masks, or true classes, replace its own.

With oracle masks, the segmenter classifies the true segments: what is still wrong are the classes. With oracle classes,
each true segment gives its class to the proposal that covers it best: what is still wrong are the masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.modeling.base import Instances, MaskClassifier

Oracle = Literal["masks", "classes"]
CERTAIN = 100.0  # logit of what is given


def segment_with(
    oracle: Oracle, segmenter: MaskClassifier, truth: LabelledImage, rgb: NDArray[np.uint8], things: Sequence[bool]
) -> Instances:
    """Segments an image with masks or classes of the ground truth.

    Args:
        oracle: What the ground truth gives.
        segmenter: Segmenter that classifies masks.
        truth: Ground truth with instances.
        rgb: The image at the size at which it is segmented, (H, W, 3) uint8.
        things: Whether each class is a thing in the ground truth.
    """
    size = truth.labels.shape[0], truth.labels.shape[1]
    true, classes = (each.to(segmenter.device) for each in true_segments(truth, things))
    if oracle == "masks":
        given = (2 * true - 1) * CERTAIN
        return segmenter.merged(segmenter.classified(rgb, given)[0], given, size)
    _, masks = segmenter.classified(rgb)
    return segmenter.merged(true_scores(masks, true, classes, len(segmenter.classes)), masks, size)


def true_segments(truth: LabelledImage, things: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Returns the k true segments, (k, H, W) float32, 0 or 1, and their classes (k,) int64; crowds are left out."""
    assert truth.instances is not None
    segments = {
        (index, number): (truth.labels == index) & (truth.instances == number)
        for index, thing in enumerate(things)
        for number in np.unique(truth.instances[truth.labels == index])
        if bool(number) == thing
    }
    masks = np.array([*segments.values()], np.float32).reshape(-1, *truth.labels.shape)
    return torch.from_numpy(masks), torch.tensor([index for index, _ in segments], dtype=torch.int64)


def true_scores(masks: Tensor, true: Tensor, classes: Tensor, count: int) -> Tensor:
    """Gives each true segment to one proposal, so that the sum of their IoUs is the largest possible.

    Args:
        masks: Logits of m proposed masks, (m, h, w).
        true: True segments, (k, H, W) float32, 0 or 1.
        classes: Their classes, (k,) int64.
        count: Number of classes T.

    Returns:
        Logits of the classes and of void, (m, T + 1) float32; proposals without a segment are void.
    """
    found = (F.interpolate(masks[None], true.shape[1:], mode="bilinear", align_corners=False)[0] > 0).flatten(1).float()
    area = true.flatten(1)
    both = found @ area.T
    iou = both / (found.sum(1, keepdim=True) + area.sum(1) - both).clamp(min=1)
    rows, columns = (torch.from_numpy(each).to(iou.device) for each in linear_sum_assignment(-iou.cpu().numpy()))
    kept = iou[rows, columns] > 0
    given = torch.full((len(masks),), count, device=masks.device)
    given[rows[kept]] = classes[columns[kept]]
    return (2 * F.one_hot(given, count + 1).float() - 1) * CERTAIN
