from __future__ import annotations

import numpy as np
import pytest

from semla_ros.adaptation.covariance import RANK, SHRINKAGE, LowRankCovariance

DRAW = np.random.default_rng(3)
SMALL = np.cov(DRAW.normal(size=(6, 40)))
LARGE = np.cov(0.95 ** np.arange(256)[:, None] * DRAW.normal(size=(256, 1000)))


def exact(matrix: np.ndarray, offsets: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """Mahalanobis distances by inverting the whole matrix."""
    dimension = len(matrix)
    inverse = np.linalg.inv(matrix + shrinkage * np.trace(matrix) / dimension * np.eye(dimension))
    distances: np.ndarray = np.sqrt(np.einsum("nd,de,ne->n", offsets, inverse, offsets))
    return distances


@pytest.mark.parametrize("shrinkage", [SHRINKAGE, 0.0])
def test_a_covariance_of_few_dimensions_is_exact(shrinkage: float) -> None:
    offsets = DRAW.normal(size=(20, 6))
    found = LowRankCovariance.of(SMALL, shrinkage=shrinkage).distances(offsets)
    assert found == pytest.approx(exact(SMALL, offsets, shrinkage), rel=1e-4)


def test_a_large_covariance_keeps_its_largest_directions_and_its_total_variance() -> None:
    found = LowRankCovariance.of(LARGE, shrinkage=0.0)
    largest = np.linalg.eigvalsh(LARGE)[::-1]
    assert found.directions.shape == (RANK, 256)
    assert found.variances == pytest.approx(largest[:RANK], rel=1e-3)
    assert found.variances.sum() + (256 - RANK) * found.residual == pytest.approx(np.trace(LARGE))


def test_distances_in_a_large_covariance_are_near_the_exact_ones() -> None:
    offsets = DRAW.multivariate_normal(np.zeros(256), LARGE, 100)
    ratios = LowRankCovariance.of(LARGE, rank=64).distances(offsets) / exact(LARGE, offsets)
    assert ratios == pytest.approx(np.ones(100), abs=0.1)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.zeros((256, 256)), np.diag([1.0, 0.0])], ids=lambda m: m.shape)
def test_a_singular_covariance_gives_finite_distances(matrix: np.ndarray) -> None:
    assert np.isfinite(LowRankCovariance.of(matrix).distances(np.ones((2, len(matrix))))).all()


def test_flags_agree_with_those_of_the_exact_distances_where_few_directions_hold_the_variance() -> None:
    spread = np.full(128, 0.15)
    spread[:12] = 5 * 0.8 ** np.arange(12)  # like the bundled navigator: 96 % of the variance in twelve directions
    near, far = spread * DRAW.normal(size=(1000, 128)), 1.7 * spread * DRAW.normal(size=(1000, 128))
    matrix = np.cov(near.T)
    covariance, offsets = LowRankCovariance.of(matrix), np.vstack([near, far])
    limits = [np.percentile(distances(near), 99) for distances in (covariance.distances, lambda x: exact(matrix, x))]
    flags, expected = covariance.distances(offsets) > limits[0], exact(matrix, offsets) > limits[1]
    assert expected.mean() > 0.2
    assert (flags == expected).mean() > 0.95


def test_stacked_covariances_of_different_ranks_give_the_distances_of_each() -> None:
    parts = [LowRankCovariance.of(LARGE, rank) for rank in (3, 12, 7)]
    offsets = DRAW.normal(size=(3, 256))
    each = [part.distances(x[None]).item() for part, x in zip(parts, offsets, strict=True)]
    stack = LowRankCovariance.stacked(parts, 256)
    assert stack.distances(offsets) == pytest.approx(each, rel=1e-5)
    assert stack[[2, 0]].distances(offsets[[2, 0]]) == pytest.approx([each[2], each[0]], rel=1e-5)


def test_the_mean_of_covariances_is_that_of_their_matrices() -> None:
    others = [np.cov(DRAW.normal(size=(6, 40))) for _ in range(3)]
    offsets = DRAW.normal(size=(5, 6))
    mean = LowRankCovariance.stacked([LowRankCovariance.of(each) for each in others], 6).mean()
    assert mean.distances(offsets) == pytest.approx(exact(np.mean(others, 0), offsets), rel=1e-4)


def test_the_mean_of_no_covariance_is_the_unit_matrix() -> None:
    mean = LowRankCovariance.stacked([], 6).mean()
    assert mean.distances(np.ones((1, 6))).item() == pytest.approx(np.sqrt(6), rel=1e-5)


def test_a_covariance_of_768_dimensions_takes_40_kb() -> None:
    assert LowRankCovariance.of(np.eye(768)).nbytes < 40_000
