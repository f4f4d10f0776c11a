"""The adapter library: which adapters there are, and those in memory, as far as a budget allows."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semla_ros.adaptation.retrieval import CentroidIndex, Mixture, retrieve
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import AdapterFolder
from semla_ros.modeling.lora import Adapter

LOG = logging.getLogger(__name__)


class AdapterLibrary:
    """All adapters of a folder.

    Adapters that do not fit are left out and kept as `rejected`: one bad file does not stop a robot.

    Args:
        folder: One folder an adapter.
        layers: Linear layers of the segmenter they are for.
        dimension: D of the navigator's embeddings.
        memory_mib: Budget of the tensors kept in memory; the least recently used go first.
        exclude: Names that are never opened.
        device: Where the tensors are kept, ready to be fused.
        dtype: And in which precision.
        module_name: Published module name to the segmenter's own, see `semla_ros.modeling.base.SegmenterKind`.

    Raises:
        AdapterError: No folder, or all adapters in it are unfit (the first one's reason).
    """

    def __init__(
        self,
        folder: Path,
        layers: Mapping[str, nn.Linear],
        dimension: int,
        memory_mib: int = 512,
        exclude: Sequence[str] = (),
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        module_name: Callable[[str], str] = str,
    ) -> None:
        if not folder.is_dir():
            raise AdapterError("no adapter library", where=folder, hint="a bundle keeps it in adapters/")
        self._folders: dict[str, AdapterFolder] = {}
        self.rejected: list[AdapterError] = []
        for path in sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in exclude):
            self._admit(path, layers, module_name, dimension)
        if self.rejected and not self._folders:
            raise self.rejected[0]
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._budget = memory_mib * 2**20
        self._place: dict[str, Any] = {"device": torch.device(device), "dtype": dtype}
        self._lock, self._reader = RLock(), ThreadPoolExecutor(max_workers=1, thread_name_prefix="semla_library")
        self.names = tuple(self._folders)
        self.statistics = tuple(f.statistics for f in self._folders.values())
        self.centroids = np.array([s.centroid for s in self.statistics]).reshape(-1, dimension)
        self._index = CentroidIndex(self.centroids)

    def retrieve(self, embedding: NDArray[np.float64], k: int, temperature: float) -> Mixture:
        """The mixture for an embedding (D,); see `semla_ros.adaptation.retrieval.retrieve`."""
        return retrieve(embedding, self.names, self._index, k, temperature)

    def is_in_distribution(self, embedding: NDArray[np.float64]) -> bool:
        """Whether the training images of some adapter distance_p99 as far as this embedding (D,)."""
        return any(statistics.is_in_distribution(embedding) for statistics in self.statistics)

    def centroids_of(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Their centroids, (len(names), D)."""
        return self.centroids[[self.names.index(name) for name in names]]

    def load(self, name: str) -> Adapter:
        """An adapter's tensors, from memory or disk.

        Raises:
            AdapterError: Its file went bad.
        """
        with self._lock:
            adapter = self._loaded.pop(name, None) or self._folders[name].load(**self._place)
            self._loaded[name] = adapter
            while len(self._loaded) > 1 and sum(a.nbytes for a in self._loaded.values()) > self._budget:
                self._loaded.popitem(last=False)
            return adapter

    def prefetch(self, names: Sequence[str]) -> None:
        """Reads adapters in the background, so that they are at hand when they are fused.

        What goes wrong is not told here: `load` meets it again.
        """
        for name in names:
            if name not in self._loaded:
                self._reader.submit(self.load, name)

    def _admit(
        self, path: Path, layers: Mapping[str, nn.Linear], module_name: Callable[[str], str], dimension: int
    ) -> None:
        try:
            folder = AdapterFolder(path, module_name)
            folder.check(layers)
            found = len(folder.statistics.centroid)
            if found != dimension:
                raise AdapterError(
                    "centroid of another navigator", where=path, got=f"dimension {found}", expected=dimension
                )
        except AdapterError as error:
            LOG.warning("adapter left out: %s", error)
            self.rejected.append(error)
        else:
            self._folders[path.name] = folder
