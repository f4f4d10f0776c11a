"""Swap thresholds derived from a library, so that a new navigator or metric needs no hand tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.centroid_index import CentroidIndex

UPPER_MEAN_DISTANCES, LOWER_SHARE, GAP_SHARE = 2.25, 0.7, 0.5


class Thresholds(NamedTuple):
    """Hysteresis thresholds of the distance between the moving average and the anchor, in the library's metric.

    Attributes:
        upper_threshold: Above it the debounce clock starts.
        lower_threshold: Below it the clock stops.
    """

    upper_threshold: float
    lower_threshold: float

    @classmethod
    def of(cls, centroids: NDArray[np.float64] | CentroidIndex, mean_distances: Sequence[float]) -> Thresholds:
        """Derives both thresholds from a library.

        Embeddings of one domain lie about one mean distance from its centroid, so that two of them are up to about
        two mean distances apart. A larger distance means that the domain has changed. If no mean distance is known
        (official libraries), half the median distance between neighbouring centroids is taken instead.

        Args:
            centroids: Index of N centroids; an array (N, D) is compared by Euclidean distance.
            mean_distances: Mean distance of each domain's training embeddings to their centroid, N values in the
                metric of the index; NaN where unknown.

        Returns:
            The thresholds; both infinite, that is no swaps, for fewer than two centroids without a mean distance.
        """
        index = centroids if isinstance(centroids, CentroidIndex) else CentroidIndex(centroids)
        known = [distance for distance in mean_distances if np.isfinite(distance)]
        if known:
            upper_threshold = UPPER_MEAN_DISTANCES * float(np.median(known))
        elif len(index.centroids) > 1:
            gaps = [index.nearest(centroid, 2)[1][1] for centroid in index.centroids]
            upper_threshold = GAP_SHARE * float(np.median(gaps))
        else:
            upper_threshold = float("inf")
        return cls(upper_threshold, LOWER_SHARE * upper_threshold)
