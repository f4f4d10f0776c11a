"""Panoptic quality (PQ), by torchmetrics: how well segments are found and classified."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.detection import PanopticQuality as Metric

Segments = tuple[NDArray[np.integer], NDArray[np.integer]]  # class indices and instances, (H, W) each


class PanopticQuality:
    """PQ over any number of images (Kirillov et al., Panoptic Segmentation, CVPR 2019).

    A found segment matches a true one of its class if their IoU is above 0.5. PQ of a class is the sum of the IoUs of
    all matches, divided by the number of matches plus half the number of all other segments, found and true.

    Args:
        things: Whether each class is a thing, whose instances are segments of their own.
    """

    def __init__(self, things: Sequence[bool]) -> None:
        self.classes, self._things = len(things), [index for index, thing in enumerate(things) if thing]
        stuff = [index for index, thing in enumerate(things) if not thing]
        self._order = self._things + stuff  # as torchmetrics has them
        # Pixels without a segment are found as a class of their own. torchmetrics leaves pixels of an unknown class out
        # of the IoU, and true segments that are mostly covered by them out of the count: less would be found, and PQ
        # would rise.
        self._metric = Metric(set(self._things), {*stuff, self.classes}, return_per_class=True)

    def add(self, truth: Segments, found: Segments) -> None:
        """Adds an image.

        Args:
            truth: True class indices and instances, (H, W) each. Pixels of other classes (255: unlabelled), and those
                of things without an instance (crowds) do not count.
            found: Class indices and instances that were found, (H, W) each; pixels of other classes have no segment.
        """
        void = self.classes + 1  # no class of the metric
        crowd = np.isin(truth[0], self._things) & (truth[1] == 0)
        target = np.where(crowd, void, truth[0]), truth[1]
        self._metric.update(self._tensor(found, self.classes), self._tensor(target, void))

    @property
    def per_class(self) -> NDArray[np.float64]:
        """PQ per class, 0 to 1, (C,) float64; NaN for classes without any true or found segment."""
        metric = self._metric
        counts = metric.true_positives + metric.false_positives + metric.false_negatives
        out = np.full(self.classes, np.nan)
        if counts.any():
            out[self._order] = torch.where(counts > 0, metric.compute()[0], torch.nan).numpy()[: self.classes]
        return out

    @property
    def mean(self) -> float:
        """Mean PQ over the classes that have a true or found segment, percent; NaN without any."""
        values = self.per_class
        return float(100 * np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def _tensor(self, segments: Segments, other: int) -> torch.Tensor:
        """One image as torchmetrics takes it, (1, H, W, 2) int64, with ``other`` instead of what is no class."""
        classes, instances = segments
        known = (classes >= 0) & (classes < self.classes)
        return torch.from_numpy(np.stack([np.where(known, classes, other), instances], axis=-1).astype(np.int64))[None]
