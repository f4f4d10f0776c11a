"""Statistics of an adapter's training images in embedding space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.metrics import EUCLIDEAN, METRICS, MIN_SAMPLES, Metric, mahalanobis

Array = NDArray[np.float64]
PERCENTILE = 99


@dataclass(frozen=True)
class Statistics:
    """Statistics of the embeddings of a training set. Official files hold the centroid alone.

    Attributes:
        centroid: Mean embedding (D,), unnormalised.
        mean_distances: Metric name to the mean distance of the embeddings to the centroid; metrics may be missing.
        covariance: Covariance of the embeddings; None if unknown.
        distance_p99: 99th percentile of the embeddings' Mahalanobis distances to the centroid; NaN if unknown.
        count: Number of training images; None if unknown.
    """

    centroid: Array
    mean_distances: Mapping[str, float] = field(default_factory=dict)
    covariance: LowRankCovariance | None = None
    distance_p99: float = np.nan
    count: int | None = None

    @classmethod
    def of(cls, embeddings: Array) -> Statistics:
        """Computes the statistics of the embeddings (N, D) of a training set, N at least 1."""
        centroid = embeddings.mean(0)
        offsets = embeddings - centroid
        covariance = LowRankCovariance.of(offsets.T @ offsets / len(offsets))
        means = {name: float(m.distances(centroid, embeddings, covariance).mean()) for name, m in METRICS.items()}
        distance_p99 = float(np.percentile(mahalanobis(centroid, embeddings, covariance), PERCENTILE))
        return cls(centroid, means, covariance, distance_p99, len(embeddings))

    @property
    def nbytes(self) -> int:
        """Size of the arrays, bytes."""
        return self.centroid.nbytes + (0 if self.covariance is None else self.covariance.nbytes)

    def mean_distance(self, metric: Metric = EUCLIDEAN) -> float:
        """Returns the mean distance of the training embeddings to the centroid; NaN if unknown."""
        return self.mean_distances.get(metric.name, np.nan)

    def supports(self, metric: Metric) -> bool:
        """Returns whether distances to this domain can be measured in a metric.

        A metric that needs a covariance requires one in the statistics. The paper excludes domains with fewer than
        500 training images; files that do not state the number of images are accepted.
        """
        enough = self.count is None or self.count >= MIN_SAMPLES
        return not metric.needs_covariance or (self.covariance is not None and enough)

    def mahalanobis(self, embedding: Array) -> float:
        """Returns the Mahalanobis distance of an embedding (D,) to the centroid; NaN without a covariance."""
        if self.covariance is None:
            return np.nan
        return float(mahalanobis(embedding, self.centroid[None], self.covariance)[0])

    def is_in_distribution(self, embedding: Array) -> bool:
        """Returns whether an embedding (D,) is as near to the centroid as 99 % of the training images; True if unknown.

        The test uses the Mahalanobis distance, whatever metric the library retrieves by.
        """
        return not self.mahalanobis(embedding) > self.distance_p99
