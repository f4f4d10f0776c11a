"""The adapter library: which adapters there are, and those in memory, as far as a budget allows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from semla_ros.adapters import AdapterFolder
from semla_ros.domain.retrieval import Mixture, retrieve
from semla_ros.errors import AdapterError
from semla_ros.modeling.lora import Adapter


class AdapterLibrary:
    """All adapters of a folder.

    Adapters that do not fit are left out and kept as `rejected`: one bad file does not stop a robot.

    Args:
        folder: One folder an adapter.
        layers: Linear layers of the segmenter they are for.
        memory_mib: Budget of the tensors kept in memory; the least recently used go first.
        exclude: Names that are never opened.

    Raises:
        AdapterError: No folder, or all adapters in it are unfit (the first one's reason).
    """

    def __init__(
        self, folder: Path, layers: Mapping[str, nn.Linear], memory_mib: int = 512, exclude: Sequence[str] = ()
    ) -> None:
        if not folder.is_dir():
            raise AdapterError("no adapter library", where=folder, hint="a bundle keeps it in adapters/")
        self._folders: dict[str, AdapterFolder] = {}
        self.rejected: list[AdapterError] = []
        for path in sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in exclude):
            self._admit(path, layers)
        if self.rejected and not self._folders:
            raise self.rejected[0]
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._budget = memory_mib * 2**20
        self.names = tuple(self._folders)
        self.statistics = tuple(f.statistics for f in self._folders.values())
        self.centroids = np.array([s.centroid for s in self.statistics])

    def retrieve(self, embedding: NDArray[np.float64], k: int, temperature: float) -> Mixture:
        """The mixture for an embedding (D,); see `semla_ros.domain.retrieval.retrieve`."""
        if not self.names:
            return Mixture()
        return retrieve(embedding, self.names, self.centroids, k, temperature)

    def knows(self, embedding: NDArray[np.float64], slack: float = 1.5) -> bool:
        """Whether some adapter's training pictures reach as far as this embedding (D,), give or take ``slack``."""
        radii = np.array([s.radius for s in self.statistics])
        if not self.names or np.isnan(radii).all():
            return bool(self.names)
        return bool((np.linalg.norm(self.centroids - embedding, axis=1) <= slack * radii).any())

    def centroids_of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Their centroids, (len(names), D)."""
        return self.centroids[[self.names.index(name) for name in names]]

    def load(self, name: str) -> Adapter:
        """An adapter's tensors, from memory or disk.

        Raises:
            AdapterError: Its file went bad.
        """
        adapter = self._loaded.pop(name, None) or self._folders[name].load()
        self._loaded[name] = adapter
        while len(self._loaded) > 1 and sum(a.nbytes for a in self._loaded.values()) > self._budget:
            self._loaded.popitem(last=False)
        return adapter

    def _admit(self, path: Path, layers: Mapping[str, nn.Linear]) -> None:
        try:
            folder = AdapterFolder(path)
            folder.check(layers)
            dimensions = {len(f.statistics.centroid) for f in self._folders.values()}
            if dimensions - {len(folder.statistics.centroid)}:
                raise AdapterError(
                    "centroid of another navigator",
                    where=path,
                    got=len(folder.statistics.centroid),
                    expected=dimensions,
                )
        except AdapterError as error:
            self.rejected.append(error)
        else:
            self._folders[path.name] = folder
