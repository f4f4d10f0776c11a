"""Statistics of an adapter's training images in embedding space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.look import LookStatistics
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
        look: Statistics of embeddings and textures together; None if unknown.
    """

    centroid: Array
    mean_distances: Mapping[str, float] = field(default_factory=dict)
    covariance: LowRankCovariance | None = None
    distance_p99: float = np.nan
    count: int | None = None
    look: LookStatistics | None = None

    @classmethod
    def of(cls, embeddings: Array, textures: Array | None = None) -> Statistics:
        """Computes the statistics of a training set.

        Args:
            embeddings: Embeddings of its images, (N, D), N at least 1.
            textures: Textures of the same images, (N, F), see `semla_ros.images.texture`. Without them, the
                out-of-distribution test compares embeddings alone.
        """
        centroid = embeddings.mean(0)
        offsets = embeddings - centroid
        covariance = LowRankCovariance.of(offsets.T @ offsets / len(offsets))
        means = {name: float(m.distances(centroid, embeddings, covariance).mean()) for name, m in METRICS.items()}
        distance_p99 = float(np.percentile(mahalanobis(centroid, embeddings, covariance), PERCENTILE))
        look = None if textures is None else LookStatistics.of(np.hstack([embeddings, textures]))
        return cls(centroid, means, covariance, distance_p99, len(embeddings), look)

    @property
    def nbytes(self) -> int:
        """Size of the arrays, bytes."""
        return self.centroid.nbytes + sum(part.nbytes for part in (self.covariance, self.look) if part is not None)

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

    def is_in_distribution(self, embedding: Array, texture: Array | None = None) -> bool:
        """Returns whether an image looks like nearly all of the training images; True if too little is known.

        The test uses the Mahalanobis distance, whatever metric the library retrieves by.

        Args:
            embedding: Embedding (D,).
            texture: Texture (F,) of the same image. Without it, or if those of the training images are not known, the
                embedding alone is compared.
        """
        if texture is not None and self.look is not None:
            return self.look.contains(np.concatenate([embedding, texture]))
        return not self.mahalanobis(embedding) > self.distance_p99
