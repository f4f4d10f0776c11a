"""Covariances in a compact form: the directions of the largest variance, and one variance for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Single = NDArray[np.float32]
RANK = 12
SHRINKAGE = 0.05  # share of the mean variance that is added to every variance, so that few samples are enough
LEAST_VARIANCE = 1e-12
OVERSAMPLING, ITERATIONS = 8, 8  # of the subspace iteration


@dataclass(frozen=True)
class LowRankCovariance:
    """The covariance Vᵀ diag(λ) V + ρ (I − Vᵀ V), as in probabilistic PCA (Tipping and Bishop, 1999).

    It holds r D numbers instead of D², and needs no inversion: a Mahalanobis distance takes r D multiplications. All
    arrays may have leading dimensions (N,) for the covariances of N domains.

    Attributes:
        directions: V, orthonormal directions of the largest variance, (r, D) float32.
        variances: λ, variance along each direction, (r,), above 0. It is shrunk: `SHRINKAGE` times the mean variance of
            the covariance is added.
        residual: ρ, mean variance of the other D − r directions, (), above 0, shrunk likewise; the smallest variance if
            there are no others.
    """

    directions: Single
    variances: Array
    residual: Array

    @classmethod
    def of(cls, covariance: Array, rank: int = RANK, shrinkage: float = SHRINKAGE) -> LowRankCovariance:
        """Approximates a symmetric positive semidefinite matrix (D, D).

        Args:
            covariance: The matrix. For D up to ``rank`` the result is exact.
            rank: Largest number of directions r.
            shrinkage: Share of the mean variance that is added to every variance.
        """
        dimension, trace = len(covariance), float(np.trace(covariance))
        added = max(shrinkage * trace / dimension, LEAST_VARIANCE)
        variances, directions = _leading(covariance, min(rank, dimension))
        variances = np.maximum(variances, 0.0)
        others = dimension - len(variances)
        residual = max(trace - float(variances.sum()), 0.0) / others if others else variances[-1]
        return cls(directions.astype(np.float32), variances + added, np.asarray(residual + added))

    @classmethod
    def stacked(cls, covariances: Sequence[LowRankCovariance], dimension: int) -> LowRankCovariance:
        """Returns the covariances of N domains as one; those of a lower rank get directions of zeros."""
        rank = max((len(each.variances) for each in covariances), default=0)
        directions = np.zeros((len(covariances), rank, dimension), np.float32)
        variances = np.ones((len(covariances), rank))
        for row, each in enumerate(covariances):
            directions[row, : len(each.variances)] = each.directions
            variances[row, : len(each.variances)] = each.variances
        return cls(directions, variances, np.array([float(each.residual) for each in covariances]))

    @property
    def nbytes(self) -> int:
        """Size of all arrays, bytes."""
        return self.directions.nbytes + self.variances.nbytes + self.residual.nbytes

    def __getitem__(self, rows: Sequence[int] | NDArray[np.intp]) -> LowRankCovariance:
        """Returns the covariances of some of the N domains."""
        chosen = np.asarray(rows, np.intp)
        return LowRankCovariance(self.directions[chosen], self.variances[chosen], self.residual[chosen])

    def distances(self, offsets: Array) -> Array:
        """Mahalanobis distances √(xᵀ Σ⁻¹ x), within 1e-3 of the exact ones for this covariance.

        Args:
            offsets: Differences x to the centroids, (M, D). With leading dimensions (N,), M is N.

        Returns:
            Distances (M,), each 0 or larger.
        """
        single = offsets.astype(np.float32)
        along = np.square((self.directions @ single[..., None])[..., 0], dtype=np.float64)  # (M, r)
        across = np.maximum(np.square(offsets).sum(-1) - along.sum(-1), 0.0)
        distances: Array = np.sqrt((along / self.variances).sum(-1) + across / self.residual)
        return distances

    def mean(self) -> LowRankCovariance:
        """Returns the mean of the covariances of N domains; the unit matrix for none."""
        count, rank, dimension = self.directions.shape
        if not count:
            return LowRankCovariance.of(np.eye(dimension), shrinkage=0.0)
        rows = self.directions.reshape(count * rank, dimension).astype(np.float64)
        weights = (self.variances - self.residual[:, None]).reshape(-1, 1)
        total = rows.T @ (weights * rows) + self.residual.sum() * np.eye(dimension)
        return LowRankCovariance.of(total / count, shrinkage=0.0)


def _leading(matrix: Array, rank: int) -> tuple[Array, Array]:
    """The largest eigenvalues of a symmetric matrix (D, D), largest first, and their eigenvectors as rows (rank, D).

    A full decomposition takes 0.2 s at D = 768. For large matrices, subspace iteration takes a few milliseconds; what
    it misses of the largest variances counts as residual.
    """
    width = rank + OVERSAMPLING
    if len(matrix) <= 8 * width:
        values, vectors = np.linalg.eigh(matrix)
    else:
        basis = np.random.default_rng(0).normal(size=(len(matrix), width))
        for _ in range(ITERATIONS):
            basis = np.linalg.qr(matrix @ basis)[0]
        values, vectors = np.linalg.eigh(basis.T @ matrix @ basis)
        vectors = basis @ vectors
    return values[::-1][:rank], vectors[:, ::-1][:, :rank].T
