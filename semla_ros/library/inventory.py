"""The adapters of a library in figures: size, training images, and how far each is from its nearest neighbour."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.metrics import EUCLIDEAN
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import AdapterFolder, read_statistics
from semla_ros.library.base_model import BaseModel

Centroids = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Entry:
    """An adapter in figures. What is unknown is None.

    Attributes:
        name: Name of the adapter.
        rank: Rank of its matrices, if it has any.
        method: How it was trained: lora, or what its configuration names.
        size: Size of configuration and weights on disk, bytes.
        images: Number of training images.
        mean_distance: Mean Euclidean distance of the training images' embeddings to their centroid.
        neighbour: Adapter with the nearest centroid.
        neighbour_distance: Euclidean distance to that centroid.
        layers: Number of layers that it changes; of the layers that act, if the base model is known.
        share: Share of the base model's acting layers that it changes, 0 to 1.
        errors: Why something is unknown.
    """

    name: str
    rank: int | None = None
    method: str | None = None
    size: int | None = None
    images: int | None = None
    mean_distance: float | None = None
    neighbour: str | None = None
    neighbour_distance: float | None = None
    layers: int | None = None
    share: float | None = None
    errors: tuple[str, ...] = ()


def inventory(paths: Sequence[Path], base: BaseModel | None = None) -> list[Entry]:
    """Returns the adapters in figures, in the order of their folders. A damaged adapter does not stop it.

    Args:
        paths: Folders of the adapters.
        base: Base model that they are for; without it the share of layers is unknown.
    """
    centroids: dict[str, NDArray[np.float64]] = {}
    entries = [_with_statistics(_with_weights(path, base), path, centroids) for path in paths]
    nearest = {each.name: (None, None) for each in entries} | neighbours(centroids)
    return [
        replace(each, neighbour=nearest[each.name][0], neighbour_distance=nearest[each.name][1]) for each in entries
    ]


def _with_weights(path: Path, base: BaseModel | None) -> Entry:
    try:
        folder = AdapterFolder(path, base.module_name) if base else AdapterFolder(path)
    except AdapterError as error:
        return Entry(path.name, errors=(str(error),))
    changed: Collection[str] = base.acting.keys() & folder.modules if base else folder.modules
    return Entry(
        path.name, folder.rank or None, folder.method, folder.size,
        layers=len(changed), share=len(changed) / len(base.acting) if base else None,
    )  # fmt: skip


def _with_statistics(entry: Entry, path: Path, centroids: dict[str, NDArray[np.float64]]) -> Entry:
    try:
        statistics = read_statistics(path)
    except AdapterError as error:
        return replace(entry, errors=(*entry.errors, str(error)))
    centroids[entry.name] = statistics.centroid
    mean = statistics.mean_distance(EUCLIDEAN)
    return replace(entry, images=statistics.count, mean_distance=None if np.isnan(mean) else mean)


def neighbours(centroids: Centroids) -> dict[str, tuple[str, float]]:
    """Finds the nearest neighbour of each adapter.

    Args:
        centroids: Adapter name to its centroid (D,). Those of different D are of different navigators: there is no
            distance between them.

    Returns:
        Adapter name to the name of the nearest other adapter and the Euclidean distance to its centroid. Adapters
        without any neighbour are left out.
    """
    found: dict[str, tuple[str, float]] = {}
    for dimension in {each.size for each in centroids.values()}:
        names = [name for name, each in centroids.items() if each.size == dimension]
        index = CentroidIndex(np.array([centroids[name] for name in names]))
        for row, name in enumerate(names if len(names) > 1 else ()):
            rows, distances = index.nearest(centroids[name], 2)
            place = 0 if rows[0] != row else 1  # an equal centroid may come before its own
            found[name] = names[rows[place]], float(distances[place])
    return found
