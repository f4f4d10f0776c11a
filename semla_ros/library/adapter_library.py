"""The adapter library: all adapters of a bundle, and those in memory, as far as a budget allows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.covariance import LowRankCovariance
from semla_ros.adaptation.metrics import EUCLIDEAN, find_metric
from semla_ros.adaptation.retrieval import Mixture, retrieve
from semla_ros.adaptation.thresholds import Thresholds
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_cache import AdapterCache
from semla_ros.library.adapter_folder import AdapterFolder, check_statistics
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.library.manifest import MANIFEST, fingerprint
from semla_ros.modeling.lora import Adapter

LOG = logging.getLogger(__name__)
NEAREST = 16  # adapters that an embedding is compared with, to decide whether it is in distribution


class AdapterLibrary:
    """All adapters of a folder.

    Whatever is wrong with one adapter, it is left out, logged and listed in `rejected`; the others are used.

    Args:
        folder: Folder with one sub-folder per adapter; without any, the library is empty. Hidden ones (.name) are no
            adapters: a training that is under way writes into one.
        layers: Linear layers of the segmenter, by module name.
        dimension: Dimension D of the navigator's embeddings.
        memory_mib: Budget of the tensors kept in memory, MiB. The least recently used adapters are dropped first.
        exclude: Names of adapters that are never opened.
        device: Device that the tensors are kept on.
        dtype: Floating-point type that they are kept in.
        module_name: Maps a published module name to the segmenter's own name, see
            `semla_ros.modeling.base.SegmenterKind`.
        metric: Name of the distance metric, see `semla_ros.adaptation.metrics.METRICS`.
        pause: Called after each adapter that is read. It may wait, or raise to give up.
        parameters: Parameters of the segmenter, by name; needed for adapters of full fine-tuning.

    Attributes:
        names: Names of the N adapters, sorted.
        statistics: Statistics of their training images, in the same order.
        index: Index of their centroids.
        rejected: One error per adapter that was left out.

    Raises:
        AdapterError: The folder is missing or unreadable, or no adapter in it is usable (the first one's error).
        BundleError: There is no metric of that name.
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
        metric: str = "euclidean",
        pause: Callable[[], None] = lambda: None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.metric = find_metric(metric)
        self._folders: dict[str, AdapterFolder] = {}
        self.rejected: list[AdapterError] = []
        paths = LibraryFolder(folder).paths
        if unknown := set(exclude) - {path.name for path in paths}:
            LOG.warning("library.exclude names no adapter of %s: %s", folder, ", ".join(sorted(unknown)))
        for path in paths:
            if path.name not in exclude:
                self._admit(path, layers, parameters, module_name, dimension)
                pause()
        if self.rejected and not self._folders:
            raise self.rejected[0]
        self.names = tuple(self._folders)
        if not self.names:
            LOG.warning("no adapter of %s is in use: the base model segments all images", folder)
        if unlisted := [name for name in self.names if not (folder / name / MANIFEST).exists()]:
            LOG.info("adapters of %s without %s are not checked: %s", folder, MANIFEST, ", ".join(unlisted))
        self.statistics = tuple(each.statistics for each in self._folders.values())
        self.index = self._indexed(dimension)
        self._neighbours = self.index if self.metric is EUCLIDEAN else CentroidIndex(self.index.centroids)
        self._has_unknown_spread = any(each.covariance is None for each in self.statistics)
        self._cache = AdapterCache(self._folders, memory_mib * 2**20, torch.device(device), dtype)

    @property
    def centroids(self) -> NDArray[np.float64]:
        """Centroids of the adapters, (N, D)."""
        return self.index.centroids

    @cached_property
    def thresholds(self) -> Thresholds:
        """Swap thresholds derived from the library, in its metric."""
        return Thresholds.of(self.index, [each.mean_distance(self.metric) for each in self.statistics])

    @cached_property
    def domain_distance(self) -> float:
        """Euclidean distance from which on two embeddings count as of different domains, whatever the metric."""
        known = [each.mean_distance() for each in self.statistics]
        return Thresholds.of(CentroidIndex(self.centroids), known).upper_threshold

    @property
    def fingerprint(self) -> str:
        """A short text that changes with the adapters in use and their files."""
        known = [f"{name} {fingerprint(folder.path)}" for name, folder in self._folders.items()]
        return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the adapters in memory, the least recently used first."""
        return self._cache.names

    def retrieve(
        self, embedding: NDArray[np.float64], k: int, temperature: float, exclude: Sequence[str] = ()
    ) -> Mixture:
        """Retrieves the mixture for an embedding, see `semla_ros.adaptation.retrieval.retrieve`.

        Args:
            embedding: Embedding (D,), unnormalised.
            k: Number of adapters to retrieve.
            temperature: Temperature of the softmax over inverse distances, above 0.
            exclude: Names of adapters to leave out, as in a leave-one-out evaluation.

        Raises:
            EmbeddingError: The embedding is not finite or of another dimension.
        """
        if not exclude:
            return retrieve(embedding, self.names, self.index, k, temperature)
        names = [name for name in self.names if name not in exclude]
        return retrieve(embedding, names, self.index_of(names), k, temperature)

    def index_of(self, names: Sequence[str]) -> CentroidIndex:
        """Returns an index of the centroids of some adapters, in the order of their names."""
        return self.index.subset([self.names.index(name) for name in names])

    def is_in_distribution(self, embedding: NDArray[np.float64], texture: NDArray[np.float64] | None = None) -> bool:
        """Returns whether an image looks like nearly all of some adapter's training images.

        In a large library, the `NEAREST` adapters by Euclidean distance are compared. An adapter without a covariance
        (official libraries) counts as near. An empty library has no adapter near.

        Args:
            embedding: Embedding (D,).
            texture: Texture of the same image, see `semla_ros.images.texture`; without it the embedding alone counts.
        """
        if self._has_unknown_spread:
            return True
        nearest, _ = self._neighbours.nearest(embedding, NEAREST)
        return any(self.statistics[row].is_in_distribution(embedding, texture) for row in nearest)

    def load(self, name: str) -> Adapter:
        """Returns an adapter's tensors, from memory or else from disk.

        Raises:
            AdapterError: Its file is no longer readable.
        """
        return self._cache.load(name)

    def prefetch(self, names: Sequence[str]) -> None:
        """Starts to read adapters in the background, so that `load` finds them in memory."""
        self._cache.prefetch(names)

    def _admit(
        self, path: Path, layers: Mapping[str, nn.Linear], parameters: Mapping[str, Tensor] | None,
        module_name: Callable[[str], str], dimension: int,
    ) -> None:  # fmt: skip
        try:
            folder = AdapterFolder(path, module_name)
            folder.check(layers, parameters)
            check_statistics(folder.statistics, dimension, self.metric, path)
        except Exception as error:  # one bad adapter must not stop a robot, whatever it makes a parser raise
            if not isinstance(error, AdapterError):
                error = AdapterError("unusable adapter", where=path, got=f"{error!r:.200}")
            LOG.warning("adapter left out: %s", error)
            self.rejected.append(error)
        else:
            self._folders[path.name] = folder

    def _indexed(self, dimension: int) -> CentroidIndex:
        centroids = np.array([each.centroid for each in self.statistics]).reshape(-1, dimension)
        if not self.metric.needs_covariance:
            return CentroidIndex(centroids, self.metric)
        covariances = [each.covariance for each in self.statistics if each.covariance is not None]
        return CentroidIndex(centroids, self.metric, LowRankCovariance.stacked(covariances, dimension))
