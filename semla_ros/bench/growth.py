"""How the time of a swap grows: retrieval with the number of adapters, fusion with K and rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.retrieval import retrieve
from semla_ros.bench.measure import timed
from semla_ros.bench.subject import Options, Subject, adapter

COUNTS, DIMENSION = (20, 100, 1000, 10_000), 768
KS, RANKS = (1, 2, 5, 10, 20), (4, 8, 16, 32)


@dataclass(frozen=True)
class Growth:
    """Medians in milliseconds.

    Attributes:
        retrieve_ms: Number of adapters (centroids of dimension 768) to the time of a retrieval.
        fuse_ms_by_k: K to the time of a fusion, with the rank of the options.
        fuse_ms_by_rank: Rank to the time of a fusion, with the K of the options.
    """

    retrieve_ms: dict[int, float]
    fuse_ms_by_k: dict[int, float]
    fuse_ms_by_rank: dict[int, float]


def grow(subject: Subject) -> Growth:
    """Measures all three."""
    options = subject.options
    by_rank = {rank: _fusing(subject, options.k, rank) for rank in RANKS}
    by_k = {k: _fusing(subject, k, options.rank) for k in KS}
    subject.fuser.apply([], ())
    return Growth({count: _retrieving(count, options) for count in COUNTS}, by_k, by_rank)


def draw(growth: Growth, file: Path) -> None:
    """Plots the three curves to an image file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    curves = (
        (growth.retrieve_ms, "adapters in the library", "retrieve"),
        (growth.fuse_ms_by_k, "k, adapters in a mixture", "fuse"),
        (growth.fuse_ms_by_rank, "rank of an adapter", "fuse"),
    )
    for axis, (curve, label, title) in zip(axes, curves, strict=True):
        _curve(axis, curve, label, title)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _curve(axis: Any, curve: dict[int, float], label: str, title: str) -> None:
    axis.plot(list(curve), list(curve.values()), marker="o", color="#1f6feb")
    axis.set(title=f"{title}, ms", xlabel=label, xscale="log", ylim=(0, 1.15 * max(curve.values())))
    axis.set_xticks(list(curve), [f"{count:,}" for count in curve])
    axis.minorticks_off()
    axis.grid(alpha=0.3)


def _retrieving(count: int, options: Options) -> float:
    random = np.random.default_rng(0)
    index, names = CentroidIndex(random.normal(size=(count, DIMENSION))), [f"a{i}" for i in range(count)]
    embedding = random.normal(size=DIMENSION)
    return timed(lambda: retrieve(embedding, names, index, options.k, 0.05), 20 * options.repeats).median


def _fusing(subject: Subject, k: int, rank: int) -> float:
    random = torch.Generator().manual_seed(6)
    adapters = [adapter(f"a{i}", subject.segmenter, rank, random) for i in range(k)]
    return timed(lambda: subject.fuser.apply(adapters, (1 / k,) * k), max(3, subject.options.repeats // 2)).median
