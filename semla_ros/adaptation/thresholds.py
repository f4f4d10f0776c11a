"""Swap thresholds derived from a library, so that a new navigator needs no hand tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import CentroidIndex

UPPER_MEAN_DISTANCES, LOWER_SHARE, GAP_SHARE = 2.25, 0.7, 0.5


class Thresholds(NamedTuple):
    """Distances of the moving average to the anchor.

    Attributes:
        upper_threshold: Beyond it the debounce clock starts.
        lower_threshold: Below it the clock stops.
    """

    upper_threshold: float
    lower_threshold: float

    @classmethod
    def of(cls, centroids: NDArray[np.float64], mean_distances: Sequence[float]) -> Thresholds:
        """Derives both.

        Embeddings of one domain lie about one mean distance from its centroid, so two of them are up to about two
        mean distances apart: what goes farther has left the domain. Without mean distances (official libraries) half
        the median gap between neighbouring centroids is used.

        Args:
            centroids: (N, D).
            mean_distances: N mean distances of training embeddings to their centroid, NaN where unknown.
        """
        known = [s for s in mean_distances if np.isfinite(s)]
        if known:
            upper_threshold = UPPER_MEAN_DISTANCES * float(np.median(known))
        elif len(centroids) > 1:
            index = CentroidIndex(centroids)
            gaps = [index.nearest(centroid, 2)[1][1] for centroid in centroids]
            upper_threshold = GAP_SHARE * float(np.median(gaps))
        else:
            upper_threshold = float("inf")
        return cls(upper_threshold, LOWER_SHARE * upper_threshold)
