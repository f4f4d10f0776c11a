"""What is wrong with the adapters of a library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import AdapterFolder, check_statistics, read_statistics
from semla_ros.library.base_model import BaseModel
from semla_ros.library.inventory import neighbours
from semla_ros.modeling.lora import Adapter

SAME_CENTROID = 1e-5  # relative distance below which two centroids were computed from the same images
NAMED = 3  # modules that a finding names


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with an adapter.

    Attributes:
        adapter: Name of the adapter.
        subject: Part of the adapter that it concerns: weights, targets, statistics or centroid.
        detail: What is wrong.
    """

    adapter: str
    subject: str
    detail: str


def centroid_findings(paths: Mapping[str, Path]) -> Iterator[Finding]:
    """Yields the findings of `same_centroids`."""
    for name, other in same_centroids(paths):
        yield Finding(name, "centroid", f"the same as that of {other}: were they trained on the same images?")


def same_centroids(paths: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yields (name, name of another adapter with the same centroid): retrieval cannot tell them apart.

    Args:
        paths: Name to the folder of an adapter. Those without usable statistics are left out.
    """
    centroids = {}
    for name, path in paths.items():
        with suppress(AdapterError):
            centroids[name] = read_statistics(path).centroid
    for name, (other, distance) in neighbours(centroids).items():
        if distance <= SAME_CENTROID * np.linalg.norm(centroids[name]):
            yield name, other


def adapter_findings(path: Path, base: BaseModel) -> Iterator[Finding]:
    """Yields what is wrong with one adapter.

    Args:
        path: Folder of the adapter.
        base: What it must fit.
    """
    try:
        folder = AdapterFolder(path, base.module_name)
        folder.check(base.layers, base.parameters)
        yield from _of_targets(folder, folder.load(), base)
    except AdapterError as error:
        yield Finding(path.name, "weights", str(error))
    try:
        statistics = read_statistics(path)
        check_statistics(statistics, base.navigator.embed_dim, base.metric, path)
    except AdapterError as error:
        yield Finding(path.name, "statistics", str(error))


def _of_targets(folder: AdapterFolder, adapter: Adapter, base: BaseModel) -> Iterator[Finding]:
    """Yields which targets of the configuration and which matrices are without effect.

    Matrices in layers that do not act are harmless where their product is zero: official adapters have them.
    """
    changed = [name for name, (up, down) in adapter.norms.items() if up * down > 0]
    idle = [name for name in changed if name not in base.acting]
    if folder.unmatched:
        yield Finding(folder.name, "targets", f"no matrices for {_named(folder.unmatched)} of target_modules")
    if folder.ignored:
        yield Finding(folder.name, "targets", f"matrices are ignored, target_modules lacks {_named(folder.ignored)}")
    if idle:
        yield Finding(folder.name, "targets", f"no effect on the output: {_named(idle)}")
    if len(idle) == len(changed) and not any(delta.any() for delta in adapter.difference.values()):
        yield Finding(folder.name, "weights", "the adapter changes nothing: A or B is zero in every layer that acts")


def _named(modules: Sequence[str]) -> str:
    """The first few names, and how many there are."""
    more = f" and {len(modules) - NAMED} more" if len(modules) > NAMED else ""
    return ", ".join(modules[:NAMED]) + more
