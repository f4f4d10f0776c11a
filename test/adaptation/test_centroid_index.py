from __future__ import annotations

import numpy as np
import pytest

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.metrics import EUCLIDEAN, METRICS, Metric

DRAW = np.random.default_rng(4)
CENTROIDS = 3 * DRAW.normal(size=(7, 4))
MATRICES = np.array([np.diag(DRAW.uniform(0.1, 4, 4)) for _ in CENTROIDS])
COVARIANCES = LowRankCovariance.stacked([LowRankCovariance.of(each) for each in MATRICES], 4)
EMBEDDING, OTHER = DRAW.normal(size=4), DRAW.normal(size=4)


@pytest.mark.parametrize(("count", "k"), [(1, 5), (7, 7), (400, 5), (3000, 20)])
def test_the_fast_search_finds_what_comparing_with_every_centroid_finds(count: int, k: int) -> None:
    draw = np.random.default_rng(count)
    centroids, embedding = 10 * draw.normal(size=(count, 64)), 10 * draw.normal(size=64)
    rows, distances = CentroidIndex(centroids).nearest(embedding, k)
    every = np.linalg.norm(centroids - embedding, axis=1)
    assert rows.tolist() == np.argsort(every)[:k].tolist()
    assert distances == pytest.approx(every[rows], rel=1e-12)


def test_neighbours_that_single_precision_cannot_tell_apart_are_ranked_exactly() -> None:
    draw = np.random.default_rng(0)
    embedding, direction = 100 * draw.normal(size=64), np.eye(64)[0]
    offsets = draw.permutation(200) + 1
    centroids = embedding + 1e-9 * offsets[:, None] * direction
    rows, _ = CentroidIndex(centroids).nearest(embedding, 3)
    assert offsets[rows].tolist() == [1, 2, 3]


def test_the_fast_search_computes_few_exact_distances() -> None:
    counted: list[int] = []

    def distances(embedding: np.ndarray, centroids: np.ndarray, covariances: LowRankCovariance | None) -> np.ndarray:
        counted.append(len(centroids))
        return EUCLIDEAN.distances(embedding, centroids, covariances)

    centroids = 10 * np.random.default_rng(1).normal(size=(5000, 64))
    index = CentroidIndex(centroids)
    index.metric = Metric("euclidean", distances)
    index.nearest(centroids[0] + 1, 5)
    assert counted[0] < 50


@pytest.mark.parametrize("name", sorted(METRICS))
def test_nearest_and_distances_agree_in_every_metric(name: str) -> None:
    index = CentroidIndex(CENTROIDS, METRICS[name], COVARIANCES)
    distances = index.distances(EMBEDDING)
    assert distances == pytest.approx(METRICS[name].distances(EMBEDDING, CENTROIDS, COVARIANCES))
    rows, nearest = index.nearest(EMBEDDING, 3)
    assert rows.tolist() == np.argsort(distances)[:3].tolist()
    assert nearest == pytest.approx(distances[rows])


@pytest.mark.parametrize("name", sorted(METRICS))
def test_two_embeddings_are_compared_in_the_same_metric(name: str) -> None:
    index = CentroidIndex(CENTROIDS, METRICS[name], COVARIANCES)
    mean = LowRankCovariance.of(MATRICES.mean(0))
    assert index.distance(EMBEDDING, OTHER) == pytest.approx(
        METRICS[name].distances(EMBEDDING, OTHER[None], mean).item(), rel=1e-6
    )
    assert index.distance(EMBEDDING, OTHER) == pytest.approx(index.distance(OTHER, EMBEDDING))
    assert index.distance(EMBEDDING, EMBEDDING) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_subset_keeps_metric_and_order(name: str) -> None:
    index = CentroidIndex(CENTROIDS, METRICS[name], COVARIANCES)
    assert index.subset([4, 1]).distances(EMBEDDING) == pytest.approx(index.distances(EMBEDDING)[[4, 1]])
    assert index.subset([]).distances(EMBEDDING).shape == (0,)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", sorted(METRICS))
def test_an_empty_index_has_no_neighbours_but_compares_embeddings(name: str) -> None:
    index = CentroidIndex(np.empty((0, 4)), METRICS[name], LowRankCovariance.stacked([], 4))
    assert index.nearest(EMBEDDING, 3)[0].tolist() == []
    assert index.distance(EMBEDDING, OTHER) > 0
