"""Clusters of similar embeddings, for any number of them: BIRCH reads them in one pass, in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering, Birch

from semla_ros.adaptation.centroid_index import CentroidIndex

Array = NDArray[np.float64]
RADIUS_SHARE = 0.5  # radius of BIRCH's subclusters as a share of the distance between clusters
MAX_SUBCLUSTERS = 2000  # merging them takes memory in proportion to their square
GROWTH = 1.5  # of the radius, while there are more


def find_centroids(chunks: Callable[[], Iterable[Array]], distance: float) -> Array:
    """Finds the centroids of clusters. Their number follows from the distance between them.

    BIRCH summarises the embeddings in subclusters of a limited radius; the subclusters are then merged by average
    linkage until the nearest two clusters are ``distance`` apart. The same embeddings in the same order give the same
    clusters.

    Args:
        chunks: Called several times; yields the same embeddings (n, D), one or more in all.
        distance: Mean distance between the members of two clusters from which on they are not merged, above 0;
            infinity gives one cluster.

    Returns:
        The mean embedding of each of K clusters, (K, D).
    """
    if not np.isfinite(distance):  # of a library that knows no distances
        return _means(chunks(), next(iter(chunks()))[:1])
    tree = Birch(threshold=RADIUS_SHARE * distance, n_clusters=None)
    for chunk in chunks():
        tree.partial_fit(chunk)
        tree = _coarser(tree)
    centers: Array = np.asarray(tree.subcluster_centers_, np.float64)
    if len(centers) > 1:
        merging = AgglomerativeClustering(n_clusters=None, distance_threshold=distance, linkage="average")
        groups = merging.fit_predict(centers)
        centers = np.stack([centers[groups == group].mean(0) for group in range(groups.max() + 1)])
    return _means(chunks(), centers)


def nearest_clusters(embeddings: Array, centroids: Array) -> NDArray[np.intp]:
    """Returns the index of the nearest centroid (K, D) for each embedding (n, D)."""
    index = CentroidIndex(centroids)
    return np.array([index.nearest(embedding, 1)[0][0] for embedding in embeddings], np.intp)


def _coarser(tree: Birch) -> Birch:
    """The same subclusters with a larger radius, while there are too many."""
    while len(tree.subcluster_centers_) > MAX_SUBCLUSTERS:
        tree = Birch(threshold=GROWTH * tree.threshold, n_clusters=None).fit(tree.subcluster_centers_)
    return tree


def _means(chunks: Iterable[Array], centers: Array) -> Array:
    """The mean of the embeddings that are nearest to each center; centers without any are left out."""
    sums, counts = np.zeros_like(centers), np.zeros(len(centers))
    for chunk in chunks:
        nearest = nearest_clusters(chunk, centers)
        np.add.at(sums, nearest, chunk)
        np.add.at(counts, nearest, 1)
    occupied = counts > 0
    means: Array = sums[occupied] / counts[occupied, None]
    return means
