from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.covariance import SHRINKAGE, LowRankCovariance
from semla_ros.adaptation.metrics import METRICS, Metric, euclidean
from semla_ros.adaptation.statistics import Statistics

EMBEDDINGS = np.random.default_rng(0).normal(size=(500, 4)) * [1.0, 1.0, 1.0, 5.0] + 3.0
FIRST, *_, LAST = np.eye(4)


def test_statistics_of_four_points_computed_by_hand() -> None:
    found = Statistics.of(np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 3.0], [2.0, -3.0]]))
    assert found.centroid.tolist() == [2.0, 0.0]
    assert found.count == 4
    assert found.mean_distance() == pytest.approx(2.5)
    assert found.covariance is not None
    added = SHRINKAGE * (2.0 + 4.5) / 2
    assert np.abs(found.covariance.directions).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert found.covariance.variances == pytest.approx([4.5 + added, 2.0 + added])


def test_the_mahalanobis_distance_is_measured_in_standard_deviations() -> None:
    found = Statistics.of(EMBEDDINGS)
    narrow, wide = found.centroid + 3 * FIRST, found.centroid + 15 * LAST
    assert found.mahalanobis(narrow) == pytest.approx(3, rel=0.2)
    assert found.mahalanobis(wide) == pytest.approx(3, rel=0.2)
    assert found.mahalanobis(found.centroid) == 0.0


def test_99_percent_of_the_training_images_are_in_distribution_and_far_embeddings_are_not() -> None:
    found = Statistics.of(EMBEDDINGS)
    assert np.mean([found.is_in_distribution(e) for e in EMBEDDINGS]) == pytest.approx(0.99)
    assert not found.is_in_distribution(found.centroid + 8 * FIRST)
    assert found.is_in_distribution(found.centroid + 8 * LAST)


def test_fewer_images_than_dimensions_give_finite_distances() -> None:
    found = Statistics.of(np.random.default_rng(1).normal(size=(3, 16)))
    assert math.isfinite(found.mahalanobis(np.ones(16)))
    assert not found.is_in_distribution(np.full(16, 100.0))


def test_a_single_image_has_mean_distance_zero() -> None:
    found = Statistics.of(np.ones((1, 4)))
    assert (found.mean_distance(), found.distance_p99) == (0.0, 0.0)
    assert found.is_in_distribution(np.ones(4))
    assert not found.is_in_distribution(np.zeros(4))


@given(st.floats(-50, 50))
def test_mahalanobis_distances_are_never_negative(shift: float) -> None:
    assert Statistics.of(EMBEDDINGS[:20]).mahalanobis(np.full(4, shift)) >= 0


def test_mean_distances_are_measured_in_every_metric() -> None:
    found = Statistics.of(EMBEDDINGS)
    directions = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    cosine = 1 - directions @ found.centroid / np.linalg.norm(found.centroid)
    assert found.mean_distance(METRICS["cosine"]) == pytest.approx(cosine.mean())
    each = [found.mahalanobis(embedding) for embedding in EMBEDDINGS]
    assert found.mean_distance(METRICS["mahalanobis"]) == pytest.approx(np.mean(each), rel=1e-5)


def test_the_mean_distance_in_a_metric_that_was_not_measured_is_unknown() -> None:
    assert math.isnan(Statistics.of(EMBEDDINGS).mean_distance(Metric("manhattan", euclidean)))
    assert math.isnan(Statistics(np.zeros(4)).mean_distance())


@pytest.mark.parametrize(("count", "supported"), [(None, True), (500, True), (499, False)])
def test_mahalanobis_requires_500_images_where_their_number_is_known(count: int | None, supported: bool) -> None:
    statistics = Statistics(np.zeros(4), covariance=LowRankCovariance.of(np.eye(4)), count=count)
    assert statistics.supports(METRICS["mahalanobis"]) is supported
    assert statistics.supports(METRICS["euclidean"])
    assert statistics.supports(METRICS["cosine"])


def test_mahalanobis_requires_a_covariance() -> None:
    assert not Statistics(np.zeros(4), count=10_000).supports(METRICS["mahalanobis"])
