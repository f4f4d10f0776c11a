"""Intersection over union (IoU) and its means, computed from a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class ConfusionMatrix:
    """Number of pixels of each pair of true class and predicted class, over any number of images.

    Args:
        classes: Number of classes C. Pixels whose ground truth is not in 0 to C - 1 (255: unlabelled) do not count.

    Attributes:
        counts: Number of pixels, (C, C + 1) int64. Rows are true classes, columns are predicted classes; the last
            column counts pixels that are predicted as unlabelled.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = np.zeros((classes, classes + 1), np.int64)

    def add(self, ground_truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Adds an image.

        Args:
            ground_truth: True class indices, (H, W).
            predicted: Predicted class indices, (H, W). Indices of C or more are unlabelled: they lower the IoU of the
                true class and of no other class.
        """
        valid = (ground_truth >= 0) & (ground_truth < self.classes)
        predicted = np.where(predicted < self.classes, predicted, self.classes)
        pairs = ground_truth[valid].astype(np.int64) * (self.classes + 1) + predicted[valid]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def iou(self) -> NDArray[np.float64]:
        """IoU per class, 0 to 1, (C,) float64; NaN for classes that are in neither ground truth nor predictions."""
        intersection = self.counts.diagonal()
        union = self.counts.sum(0)[:-1] + self.counts.sum(1) - intersection
        out: NDArray[np.float64] = np.divide(intersection, union, out=np.full(self.classes, np.nan), where=union > 0)
        return out

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur in the ground truth, percent; NaN if no pixel was counted."""
        occurring = self.counts.sum(1) > 0
        return float(100 * self.iou[occurring].mean()) if occurring.any() else float("nan")


def harmonic_mean(values: Iterable[float]) -> float:
    """Harmonic mean of one or more values, 0 if any value is 0 (SemLA, Table 1: h-mean over domains)."""
    numbers = list(values)
    return 0.0 if min(numbers) <= 0 else len(numbers) / sum(1 / v for v in numbers)
