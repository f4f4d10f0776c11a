from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.covariance import SHRINKAGE, LowRankCovariance
from semla_ros.adaptation.metrics import METRICS, cosine, euclidean, find_metric, mahalanobis
from semla_ros.errors import BundleError

RANDOM = np.random.default_rng(0)
EMBEDDING, CENTROIDS = RANDOM.normal(size=6), RANDOM.normal(size=(5, 6))
MATRICES = np.array([np.cov(RANDOM.normal(size=(50, 6)).T) for _ in range(5)])
COVARIANCES = LowRankCovariance.stacked([LowRankCovariance.of(each) for each in MATRICES], 6)


def test_euclidean_is_the_length_of_the_difference() -> None:
    assert euclidean(EMBEDDING, CENTROIDS) == pytest.approx([math.dist(EMBEDDING, c) for c in CENTROIDS])


def test_cosine_is_one_minus_the_cosine_of_the_angle() -> None:
    expected = [1 - EMBEDDING @ c / np.linalg.norm(EMBEDDING) / np.linalg.norm(c) for c in CENTROIDS]
    assert cosine(EMBEDDING, CENTROIDS) == pytest.approx(expected)


def test_cosine_ignores_lengths_and_is_zero_two_or_one_for_same_opposite_and_undefined_directions() -> None:
    e = np.array([3.0, 4.0])
    assert cosine(e, np.array([2 * e, -e, [-4.0, 3.0], [0.0, 0.0]])).tolist() == pytest.approx([0, 2, 1, 1])
    assert cosine(np.zeros(2), e[None])[0] == 1.0


def test_mahalanobis_is_measured_in_each_domain_s_own_deviations() -> None:
    shrunk = [each + SHRINKAGE * np.trace(each) / 6 * np.eye(6) for each in MATRICES]
    offsets = EMBEDDING - CENTROIDS
    expected = [math.sqrt(x @ np.linalg.inv(s) @ x) for x, s in zip(offsets, shrunk, strict=True)]
    assert mahalanobis(EMBEDDING, CENTROIDS, COVARIANCES) == pytest.approx(expected, rel=1e-5)


def test_mahalanobis_takes_one_covariance_for_all_centroids() -> None:
    unit = LowRankCovariance.of(np.eye(6), shrinkage=0.0)
    assert mahalanobis(EMBEDDING, CENTROIDS, unit) == pytest.approx(euclidean(EMBEDDING, CENTROIDS), rel=1e-5)


@given(st.sampled_from(sorted(METRICS)), st.integers(0, 1000))
def test_every_metric_is_finite_not_negative_and_zero_on_a_centroid(name: str, seed: int) -> None:
    embedding = np.random.default_rng(seed).normal(size=6) * 10
    centroids = np.vstack([CENTROIDS[:4], embedding])
    distances = METRICS[name].distances(embedding, centroids, COVARIANCES)
    assert distances.shape == (5,)
    assert np.isfinite(distances).all()
    assert (distances >= 0).all()
    assert distances[4] == pytest.approx(0.0, abs=1e-12)


def test_metrics_are_found_by_name() -> None:
    assert [find_metric(name).name for name in ("euclidean", "cosine", "mahalanobis")] == list(METRICS)


@pytest.mark.parametrize("name", ["manhattan", "", None, 3, ["cosine"], "x" * 10_000])
def test_an_unknown_metric_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(BundleError, match=r"unknown distance metric.*euclidean or cosine or mahalanobis") as error:
        find_metric(name)
    assert len(str(error.value)) < 200
