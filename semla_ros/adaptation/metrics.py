"""Distance metrics between embeddings, by name (SemLA, supplement, Table 5).

``defaults.metric`` in bundle.yaml names the metric. Retrieval, tracking, thresholds and evaluation then all use it.
A new metric is one function in this file and one entry in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import BundleError

Array = NDArray[np.float64]
SHRINKAGE = 0.05  # share of the mean variance that is added to every variance, so that a covariance can be inverted
MIN_SAMPLES = 500  # fewest training images whose covariance counts as measured (paper, supplement)


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to measure how far an embedding is from centroids.

    Attributes:
        name: Name in bundle.yaml.
        distances: Called with an embedding (D,), centroids (N, D) and their precisions, that is inverse covariances,
            (N, D, D) or (1, D, D); returns the N distances, each 0 or larger. The precisions are None where
            ``needs_covariance`` is False.
        needs_covariance: Whether it can only compare with domains whose covariance is known.
    """

    name: str
    distances: Callable[[Array, Array, Array | None], Array]
    needs_covariance: bool = False


def euclidean(embedding: Array, centroids: Array, precisions: Array | None = None) -> Array:
    """‖e − c‖₂, on unnormalised embeddings (paper, section 3.3)."""
    distances: Array = np.linalg.norm(centroids - embedding, axis=1)
    return distances


def cosine(embedding: Array, centroids: Array, precisions: Array | None = None) -> Array:
    """1 − cos(e, c), 0 to 2. An embedding of length 0 is at distance 1 from everything.

    It is computed as ½ ‖e/‖e‖ − c/‖c‖‖², which is exactly 0 where both directions are the same.
    """
    ours, theirs = _directions(embedding[None]), _directions(centroids)
    distances: Array = 0.5 * np.square(theirs - ours).sum(1)
    return np.where(theirs.any(1) & ours.any(), distances, 1.0)


def _directions(vectors: Array) -> Array:
    """Scales vectors (N, D) to length 1; those of length 0 stay 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Array = vectors / np.where(lengths > 0, lengths, 1.0)
    return directions


def mahalanobis(embedding: Array, centroids: Array, precisions: Array | None = None) -> Array:
    """√((e − c)ᵀ Σ⁻¹ (e − c)), in standard deviations of each centroid's domain."""
    assert precisions is not None
    offsets = (centroids - embedding)[:, None]  # (N, 1, D)
    squares = (offsets @ precisions @ offsets.transpose(0, 2, 1))[:, 0, 0]
    distances: Array = np.sqrt(np.maximum(squares, 0.0))  # rounding makes some squares slightly negative
    return distances


def precision(covariance: Array) -> Array:
    """Inverts covariances (..., D, D) after shrinking them towards a sphere, so that few samples are enough."""
    dimension = covariance.shape[-1]
    variance = np.maximum(np.trace(covariance, axis1=-2, axis2=-1) / dimension, 1e-12)
    inverse: Array = np.linalg.inv(covariance + SHRINKAGE * variance[..., None, None] * np.eye(dimension))
    return inverse


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
