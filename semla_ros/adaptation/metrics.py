"""Distance metrics between embeddings, by name (SemLA, supplement, Table 5).

``defaults.metric`` in bundle.yaml names the metric. Retrieval, tracking, thresholds and evaluation then all use it.
A new metric is one function in this file and one entry in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.errors import BundleError

Array = NDArray[np.float64]
MIN_SAMPLES = 500  # fewest training images whose covariance counts as measured (paper, supplement)


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to measure how far an embedding is from centroids.

    Attributes:
        name: Name in bundle.yaml.
        distances: Called with an embedding (D,), centroids (N, D) and their covariances, or one covariance for all of
            them; returns the N distances, each 0 or larger. The covariances are None where ``needs_covariance`` is
            False.
        needs_covariance: Whether it can only compare with domains whose covariance is known.
    """

    name: str
    distances: Callable[[Array, Array, LowRankCovariance | None], Array]
    needs_covariance: bool = False


def euclidean(embedding: Array, centroids: Array, covariances: LowRankCovariance | None = None) -> Array:
    """‖e − c‖₂, on unnormalised embeddings (paper, section 3.3)."""
    distances: Array = np.linalg.norm(centroids - embedding, axis=1)
    return distances


def cosine(embedding: Array, centroids: Array, covariances: LowRankCovariance | None = None) -> Array:
    """1 − cos(e, c), 0 to 2. An embedding of length 0 has no direction: it is at distance 1 from everything."""
    lengths = np.linalg.norm(embedding) * np.sqrt(np.einsum("nd,nd->n", centroids, centroids))
    cosines = np.divide(centroids @ embedding, lengths, out=np.zeros(len(centroids)), where=lengths > 0)
    distances: Array = np.clip(1 - cosines, 0.0, 2.0)
    return distances


def mahalanobis(embedding: Array, centroids: Array, covariances: LowRankCovariance | None = None) -> Array:
    """√((e − c)ᵀ Σ⁻¹ (e − c)), in standard deviations of each centroid's domain."""
    assert covariances is not None
    return covariances.distances(centroids - embedding)


EUCLIDEAN = Metric("euclidean", euclidean)
METRICS = {
    metric.name: metric
    for metric in (EUCLIDEAN, Metric("cosine", cosine), Metric("mahalanobis", mahalanobis, needs_covariance=True))
}


def find_metric(name: object) -> Metric:
    """Returns the metric that bundle.yaml names.

    Raises:
        BundleError: There is no metric of that name.
    """
    if not isinstance(name, str) or name not in METRICS:
        raise BundleError(
            "unknown distance metric", where="defaults.metric", got=f"{name!r:.40}", expected=" or ".join(METRICS)
        )
    return METRICS[name]
