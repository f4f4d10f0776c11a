"""Which adapters fit an embedding, and with which weights (SemLA, section 3.3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.errors import EmbeddingError

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Adapters to fuse, nearest first. Without adapters it stands for the base model.

    Attributes:
        names: Adapter names.
        weights: One weight per name, 0 to 1, summing to 1.
        distances: Distance from the embedding to each adapter's centroid, 0 or larger.
        support: Support score (Eq. 15) for the retrieved embedding, 0 or larger; large if adapters are near it.
    """

    names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    distances: tuple[float, ...] = ()
    support: float = 0.0

    def without(self, names: Collection[str]) -> Mixture:
        """Returns the mixture without some adapters: the weights of the others keep their ratios and sum to 1."""
        kept = [i for i, name in enumerate(self.names) if name not in names]
        weights, distances = np.array(self.weights)[kept], np.array(self.distances)[kept]
        if not weights.sum() > 0:
            return Mixture()
        weights = weights / weights.sum()
        left = tuple(self.names[i] for i in kept)
        return Mixture(left, tuple(weights.tolist()), tuple(distances.tolist()), support(weights, distances))

    def change(self, other: Mixture) -> float:
        """Returns the L1 distance between the weights of two mixtures: 0 if they are equal, 2 if they are disjoint."""
        ours, theirs = (dict(zip(m.names, m.weights, strict=True)) for m in (self, other))
        return sum(abs(ours.get(name, 0.0) - theirs.get(name, 0.0)) for name in ours.keys() | theirs.keys())


def retrieve(
    embedding: Vector, names: Sequence[str], centroids: Vector | CentroidIndex, k: int, temperature: float
) -> Mixture:
    """Retrieves the k nearest adapters and weights them by distance.

    Args:
        embedding: Embedding (D,), unnormalised.
        names: N adapter names.
        centroids: Index of the N centroids; an array (N, D) is compared by Euclidean distance.
        k: Number of adapters to retrieve; all adapters if the library has fewer.
        temperature: Temperature τ of the softmax over inverse distances, above 0.

    Raises:
        EmbeddingError: The embedding is not finite or has another dimension than the centroids.
    """
    index = centroids if isinstance(centroids, CentroidIndex) else CentroidIndex(centroids)
    nearest, distances = index.nearest(checked(embedding, index.centroids.shape[1]), k)
    weights = closeness_weights(distances, temperature)
    return Mixture(
        names=tuple(names[i] for i in nearest),
        weights=tuple(weights.tolist()),
        distances=tuple(distances.tolist()),
        support=support(weights, distances),
    )


def closeness_weights(distances: Vector, temperature: float) -> Vector:
    """Softmax over inverse distances, w_i = exp(1 / (τ d_i)) / Σ_k exp(1 / (τ d_k)).

    An adapter at distance 0 takes all the weight; several of them share it equally.

    Args:
        distances: K distances, 0 or larger.
        temperature: τ, above 0.

    Returns:
        K weights that sum to 1; none for no distances.
    """
    with np.errstate(divide="ignore", over="ignore"):
        exponents = 1 / (temperature * distances)
    if np.isinf(exponents).any():
        exponents = np.where(np.isinf(exponents), 0.0, -np.inf)
    powers = np.exp(exponents - exponents.max(initial=-np.inf))
    weights: Vector = powers / powers.sum()
    return weights


def support(weights: Vector, distances: Vector) -> float:
    """Support score Σ w_i / d_i (Eq. 15): infinite if a weighted centroid is at distance 0, 0 without adapters."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        terms = np.where(weights > 0, weights / distances, 0.0)
    return float(terms.sum())


def checked(embedding: Vector, dimension: int) -> Vector:
    """Returns the embedding as float64.

    Raises:
        EmbeddingError: The embedding is not finite, or its shape is not (dimension,).
    """
    if embedding.shape != (dimension,):
        raise EmbeddingError("embedding of the wrong shape", got=embedding.shape, expected=(dimension,))
    bad = int((~np.isfinite(embedding)).sum())
    if bad:
        raise EmbeddingError("embedding is not finite", got=f"{bad} of {dimension} values NaN or infinite")
    return embedding.astype(np.float64)
