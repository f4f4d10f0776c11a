"""How a large library scales: time to open it, time of a look at an embedding, and what is kept of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from semla_ros.adaptation.statistics import Statistics
from semla_ros.adaptation.statistics_file import load_statistics
from semla_ros.bench.growth import DIMENSION
from semla_ros.bench.measure import timed
from semla_ros.images.texture import TEXTURE_DIM
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.modeling.lora import Adapter
from semla_ros.progress import ProgressBar

SAMPLES = 64  # embeddings that the covariance of all adapters is computed of
LAYERS = {"layer": nn.Linear(8, 8)}
MB = 1e6


@dataclass(frozen=True)
class LibraryScale:
    """Figures of a library with random statistics of dimension 768.

    Attributes:
        adapters: Number of adapters.
        open_s: Time to open the library, seconds.
        open_older_s: The same if each statistics file held a full covariance, seconds; extrapolated from a few files.
        first_look_ms: Time of the first test whether an embedding is in distribution, milliseconds.
        look_ms: Median time of further tests.
        kept_mb: Memory that statistics and centroids take, 10⁶ bytes.
        file_kb: Size of a statistics file, 10³ bytes.
    """

    adapters: int
    open_s: float
    open_older_s: float
    first_look_ms: float
    look_ms: float
    kept_mb: float
    file_kb: float


def library_scale(adapters: int, repeats: int = 200) -> LibraryScale:
    """Measures a library of this number of adapters, in a temporary folder."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = _write(folder, adapters)
        start = time.perf_counter()
        library = AdapterLibrary(folder, LAYERS, DIMENSION)
        open_s = time.perf_counter() - start
        excess_s = _older_s(folder / "older.npz") - _seconds(file)
        file_kb = file.stat().st_size / 1e3
    far, texture = library.centroids[0] + 100.0, np.zeros(TEXTURE_DIM)  # beyond every adapter: all are compared
    start = time.perf_counter()
    library.is_in_distribution(far, texture)
    first_look_ms = 1e3 * (time.perf_counter() - start)
    look_ms = timed(lambda: library.is_in_distribution(far, texture), repeats).median
    kept = sum(each.nbytes for each in library.statistics) + library.index.nbytes
    return LibraryScale(adapters, open_s, open_s + adapters * excess_s, first_look_ms, look_ms, kept / MB, file_kb)


def _write(folder: Path, adapters: int) -> Path:
    """Writes the adapters; returns the statistics file of the last one."""
    draw = np.random.default_rng(0)
    factors = {"layer": (torch.ones(1, 8), torch.ones(8, 1))}
    embeddings = 0.99 ** np.arange(DIMENSION) * draw.normal(size=(SAMPLES, DIMENSION))
    spread = Statistics.of(embeddings, draw.normal(size=(SAMPLES, TEXTURE_DIM)))
    for number in ProgressBar(range(adapters), desc="adapters"):
        name = f"a{number}"
        statistics = replace(spread, centroid=10 * draw.normal(size=DIMENSION))
        save_adapter(Adapter(name, factors, 1.0), statistics, folder)
    return folder / name / f"{name}_statistics.npz"


def _older_s(file: Path) -> float:
    """Time to read a statistics file with a full covariance, seconds."""
    matrix = np.cov(np.random.default_rng(0).normal(size=(DIMENSION, 2 * DIMENSION))).astype(np.float32)
    np.savez(file, train_average_embedding=np.zeros((1, DIMENSION), np.float32), covariance=matrix)
    return _seconds(file)


def _seconds(file: Path) -> float:
    """Time to read a statistics file, seconds."""
    return timed(lambda: load_statistics(file), 5).median / 1e3
