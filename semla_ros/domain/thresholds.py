"""Swap thresholds derived from a library, so that a new navigator needs no hand tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semla_ros.domain.retrieval import CentroidIndex

ENTER_SPREADS, REARM_SHARE, GAP_SHARE = 2.25, 0.7, 0.5


class Thresholds(NamedTuple):
    """Distances of the moving average to the anchor.

    Attributes:
        enter: Beyond it the debounce clock starts.
        rearm: Below it the clock stops.
    """

    enter: float
    rearm: float

    @classmethod
    def of(cls, centroids: NDArray[np.float64], spreads: Sequence[float]) -> Thresholds:
        """Derives both.

        Embeddings of one domain lie about a spread from its centroid, so two of them up to about two spreads apart:
        what goes farther has left. Without spreads (official libraries) half the median gap between neighbouring
        centroids stands in.

        Args:
            centroids: (N, D).
            spreads: N mean distances of training embeddings to their centroid, NaN where unknown.
        """
        known = [s for s in spreads if np.isfinite(s)]
        if known:
            enter = ENTER_SPREADS * float(np.median(known))
        elif len(centroids) > 1:
            index = CentroidIndex(centroids)
            gaps = [index.nearest(centroid, 2)[1][1] for centroid in centroids]
            enter = GAP_SHARE * float(np.median(gaps))
        else:
            enter = float("inf")
        return cls(enter, REARM_SHARE * enter)
