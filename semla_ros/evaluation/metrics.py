"""Mean intersection over union, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class ConfusionMatrix:
    """Counts of (ground truth, prediction) pairs over any number of images.

    Args:
        classes: Number of classes; labels outside 0 to classes - 1 are not counted (255: unlabelled).
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts = np.zeros((classes, classes + 1), np.int64)  # the last column: predicted as unlabelled

    def add(self, ground_truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> None:
        """Adds a image, both (H, W). A pixel predicted as unlabelled counts against its true class."""
        valid = (ground_truth >= 0) & (ground_truth < self.classes)
        predicted = np.where(predicted < self.classes, predicted, self.classes)
        pairs = ground_truth[valid].astype(np.int64) * (self.classes + 1) + predicted[valid]
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union a class, (classes,); NaN for classes that occur in neither."""
        hit = self.counts.diagonal()
        union = self.counts.sum(0)[:-1] + self.counts.sum(1) - hit
        out: NDArray[np.float64] = np.divide(hit, union, out=np.full(self.classes, np.nan), where=union > 0)
        return out

    @property
    def miou(self) -> float:
        """Mean over the classes that occur in the ground truth, in percent; NaN before the first image."""
        occurring = self.counts.sum(1) > 0
        return float(100 * self.iou[occurring].mean()) if occurring.any() else float("nan")


def harmonic_mean(values: Iterable[float]) -> float:
    """Harmonic mean, 0 if any value is 0 (the paper's h-mean over domains)."""
    numbers = list(values)
    return 0.0 if min(numbers) <= 0 else len(numbers) / sum(1 / v for v in numbers)
