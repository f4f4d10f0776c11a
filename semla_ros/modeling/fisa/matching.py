"""Which proposed mask is compared with which true one, and how much they differ (Mask2Former, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.images.classes import UNLABELLED
from semla_ros.images.panoptic import INSTANCE

CLASS, DICE, BCE = 2.0, 5.0, 5.0  # weights of the three losses, in the matching, too; FISA, equation (6)


@dataclass(frozen=True)
class Truth:
    """The true segments of an image.

    Attributes:
        classes: Class of each of k segments, (k,) int64.
        masks: Segments on the P labelled pixels, (k, P) float32, 0 or 1.
        labelled: Which pixels are labelled, (h, w) bool.
    """

    classes: Tensor
    masks: Tensor
    labelled: Tensor

    @classmethod
    def of(cls, labels: Tensor) -> Truth:
        """Reads a label map (h, w) int64 of class + 256 * instance; pixels of class 255 are unlabelled."""
        labelled = labels % INSTANCE != UNLABELLED
        known = labels[labelled]
        segments = known.unique()
        return cls(segments % INSTANCE, (known == segments[:, None]).float(), labelled)


def differences(masks: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and Dice loss of every pair of a proposed and a true mask.

    Args:
        masks: Logits (m, P).
        truth: (k, P), 0 or 1.

    Returns:
        Two matrices (m, k).
    """
    probability = masks.sigmoid()
    entropy = F.softplus(masks).mean(1, keepdim=True) - masks @ truth.T / masks.shape[1]
    both, each = probability @ truth.T, probability.sum(1, keepdim=True) + truth.sum(1)
    return entropy, 1 - (2 * both + 1) / (each + 1)


@torch.no_grad()
def match(scores: Tensor, entropy: Tensor, dice: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Finds the one-to-one assignment of true to proposed masks with the lowest cost.

    Args:
        scores: Logits of the classes, (m, T or T + 1).
        entropy: From `differences`, (m, k).
        dice: Likewise.
        classes: True classes (k,).

    Returns:
        Indices of proposed masks and of the true ones that they are assigned to, min(m, k) each.
    """
    from scipy.optimize import linear_sum_assignment

    cost = CLASS * -scores.softmax(-1)[:, classes] + BCE * entropy + DICE * dice
    proposed, true = linear_sum_assignment(cost.nan_to_num(1e6, 1e6, -1e6).cpu().numpy())
    return torch.from_numpy(proposed).to(scores.device), torch.from_numpy(true).to(scores.device)
