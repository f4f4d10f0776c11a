from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.metrics import METRICS, Metric, euclidean
from semla_ros.adaptation.thresholds import GAP_SHARE, LOWER_SHARE, MAX_GAPS, UPPER_MEAN_DISTANCES, Thresholds

SQUARE = np.array([[0.0, 0.0], [0.0, 2.0], [6.0, 0.0], [6.0, 4.0]])


def test_mean_distances_of_the_library_set_the_thresholds() -> None:
    found = Thresholds.of(SQUARE, [1.0, 2.0, 3.0, 10.0])
    assert found.upper_threshold == pytest.approx(UPPER_MEAN_DISTANCES * 2.5)
    assert found.lower_threshold == pytest.approx(LOWER_SHARE * found.upper_threshold)


def test_unknown_mean_distances_are_ignored() -> None:
    assert Thresholds.of(SQUARE, [math.nan, 4.0, math.nan, math.nan]).upper_threshold == pytest.approx(
        UPPER_MEAN_DISTANCES * 4.0
    )


def test_without_mean_distances_half_the_gap_between_neighbours_is_taken() -> None:
    found = Thresholds.of(SQUARE, [math.nan] * 4)
    assert found.upper_threshold == pytest.approx(GAP_SHARE * np.median([2, 2, 4, 4]))
    assert 0 < found.lower_threshold < found.upper_threshold


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_adapters_without_a_mean_distance_never_swap(count: int) -> None:
    assert Thresholds.of(SQUARE[:count], [math.nan] * count) == (math.inf, math.inf)


def test_thousands_of_adapters_need_memory_linear_in_their_number() -> None:
    centroids = np.random.default_rng(0).normal(size=(3000, 64))
    tracemalloc.start()
    found = Thresholds.of(centroids, [math.nan] * len(centroids))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < found.upper_threshold < np.sqrt(2 * 64)
    assert peak < 10 * centroids.nbytes


@pytest.mark.parametrize("name", sorted(METRICS))
def test_gaps_are_measured_in_the_metric_of_the_index(name: str) -> None:
    centroids = SQUARE + 1.0
    covariances = LowRankCovariance.stacked([LowRankCovariance.of(np.diag([4.0, 0.25]))] * 4, 2)
    index = CentroidIndex(centroids, METRICS[name], covariances)
    gaps = [sorted(index.distances(centroid))[1] for centroid in centroids]
    assert Thresholds.of(index, [math.nan] * 4).upper_threshold == pytest.approx(GAP_SHARE * np.median(gaps))


def test_the_gaps_of_a_large_library_are_sampled() -> None:
    calls = 0

    def distances(embedding: np.ndarray, centroids: np.ndarray, covariances: object) -> np.ndarray:
        nonlocal calls
        calls += 1
        return euclidean(embedding, centroids)

    centroids = np.random.default_rng(0).normal(size=(2001, 16))
    found = Thresholds.of(CentroidIndex(centroids, Metric("counted", distances)), [math.nan] * len(centroids))
    assert 150 < calls <= MAX_GAPS
    gaps = [np.partition(np.linalg.norm(centroids - centroid, axis=1), 1)[1] for centroid in centroids]
    assert found.upper_threshold == pytest.approx(GAP_SHARE * np.median(gaps), rel=0.1)
