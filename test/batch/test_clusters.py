from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from semla_ros.batch import clusters
from semla_ros.batch.clusters import find_centroids, nearest_clusters

CENTERS = np.array([[0.0] * 8, [10.0] * 8, [0.0] * 4 + [10.0] * 4])


def blobs(count: int = 60) -> np.ndarray:
    """Embeddings of three domains, in turn."""
    noise = np.random.default_rng(0).normal(0, 0.5, (count, 8))
    return CENTERS[np.arange(count) % 3] + noise


@pytest.mark.parametrize("size", [1, 7, 60])
def test_domains_become_clusters_whatever_the_size_of_the_chunks(size: int) -> None:
    points = blobs()
    found = find_centroids(lambda: (points[i : i + size] for i in range(0, len(points), size)), distance=5.0)
    assert len(found) == 3
    assert {int(np.linalg.norm(found - center, axis=1).argmin()) for center in CENTERS} == {0, 1, 2}
    assert len({*nearest_clusters(points, found).tolist()}) == 3


def test_centroids_are_the_means_of_their_members() -> None:
    points = blobs()
    found = find_centroids(lambda: [points], distance=5.0)
    nearest = nearest_clusters(points, found)
    np.testing.assert_allclose(found, [points[nearest == i].mean(0) for i in range(3)])


def test_a_smaller_distance_gives_more_clusters() -> None:
    points = blobs()
    counts = [len(find_centroids(lambda: [points], distance)) for distance in (100.0, 12.0, 5.0, 0.5)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] > 3


@pytest.mark.parametrize("distance", [5.0, float("inf")])
def test_a_single_image_is_a_cluster(distance: float) -> None:
    found = find_centroids(lambda: [CENTERS[1:2]], distance)
    np.testing.assert_allclose(found, CENTERS[1:2])


def test_a_library_without_distances_gives_one_cluster() -> None:
    points = blobs()
    np.testing.assert_allclose(find_centroids(lambda: [points], float("inf")), [points.mean(0)])


def test_memory_is_bounded_by_a_limit_on_subclusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "MAX_SUBCLUSTERS", 10)
    points = np.random.default_rng(1).normal(0, 5, (200, 8))
    largest = []
    coarser = clusters._coarser

    def watched(tree):
        tree = coarser(tree)
        largest.append(len(tree.subcluster_centers_))
        return tree

    monkeypatch.setattr(clusters, "_coarser", watched)
    assert len(find_centroids(lambda: np.array_split(points, 10), distance=0.01)) <= 10
    assert max(largest) <= 10
