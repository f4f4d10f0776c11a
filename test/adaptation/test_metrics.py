from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.metrics import METRICS, cosine, euclidean, find_metric, mahalanobis, precision
from semla_ros.errors import BundleError

RANDOM = np.random.default_rng(0)
EMBEDDING, CENTROIDS = RANDOM.normal(size=6), RANDOM.normal(size=(5, 6))
COVARIANCES = np.array([np.cov(RANDOM.normal(size=(50, 6)).T) for _ in range(5)])


def test_euclidean_is_the_length_of_the_difference() -> None:
    assert euclidean(EMBEDDING, CENTROIDS) == pytest.approx([math.dist(EMBEDDING, c) for c in CENTROIDS])


def test_cosine_is_one_minus_the_cosine_of_the_angle() -> None:
    expected = [1 - EMBEDDING @ c / np.linalg.norm(EMBEDDING) / np.linalg.norm(c) for c in CENTROIDS]
    assert cosine(EMBEDDING, CENTROIDS) == pytest.approx(expected)


def test_cosine_ignores_lengths_and_is_zero_two_or_one_for_same_opposite_and_undefined_directions() -> None:
    e = np.array([3.0, 4.0])
    assert cosine(e, np.array([2 * e, -e, [-4.0, 3.0], [0.0, 0.0]])).tolist() == pytest.approx([0, 2, 1, 1])
    assert cosine(EMBEDDING, EMBEDDING[None])[0] == 0.0
    assert cosine(np.zeros(2), e[None])[0] == 1.0


def test_mahalanobis_is_measured_in_each_domain_s_own_deviations() -> None:
    precisions = precision(COVARIANCES)
    expected = [math.sqrt((EMBEDDING - c) @ p @ (EMBEDDING - c)) for c, p in zip(CENTROIDS, precisions, strict=True)]
    assert mahalanobis(EMBEDDING, CENTROIDS, precisions) == pytest.approx(expected)


def test_mahalanobis_takes_one_precision_for_all_centroids() -> None:
    assert mahalanobis(EMBEDDING, CENTROIDS, np.eye(6)[None]) == pytest.approx(euclidean(EMBEDDING, CENTROIDS))


def test_a_precision_is_nearly_the_inverse_and_exists_for_a_singular_covariance() -> None:
    assert precision(np.diag([1.0, 4.0])) == pytest.approx(np.diag([1 / 1.125, 1 / 4.125]))
    assert np.isfinite(precision(np.zeros((3, 2, 2)))).all()


@given(st.sampled_from(sorted(METRICS)), st.integers(0, 1000))
def test_every_metric_is_finite_not_negative_and_zero_on_a_centroid(name: str, seed: int) -> None:
    embedding = np.random.default_rng(seed).normal(size=6) * 10
    centroids = np.vstack([CENTROIDS[:4], embedding])
    distances = METRICS[name].distances(embedding, centroids, precision(COVARIANCES))
    assert distances.shape == (5,)
    assert np.isfinite(distances).all()
    assert (distances >= 0).all()
    assert distances[4] == 0.0


def test_metrics_are_found_by_name() -> None:
    assert [find_metric(name).name for name in ("euclidean", "cosine", "mahalanobis")] == list(METRICS)


@pytest.mark.parametrize("name", ["manhattan", "", None, 3, ["cosine"], "x" * 10_000])
def test_an_unknown_metric_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(BundleError, match=r"unknown distance metric.*euclidean or cosine or mahalanobis") as error:
        find_metric(name)
    assert len(str(error.value)) < 200
