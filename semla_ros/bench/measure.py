"""Times of rows: medians and spreads. Rows are run in turn: a change of the machine's speed affects all of them."""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Timing:
    """Times of a row, milliseconds.

    Attributes:
        median: Median of all repetitions.
        spread: Half the distance between the quartiles.
        repeats: Number of repetitions.
    """

    median: float
    spread: float
    repeats: int


class Stopwatch:
    """Collects the times of rows. Work on CUDA is waited for before and after each."""

    def __init__(self) -> None:
        self._ms: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Measures the time of the ``with`` block as one repetition of a row."""
        _finish()
        start = time.perf_counter()
        yield
        _finish()
        self._ms[name].append(1e3 * (time.perf_counter() - start))

    def __getitem__(self, name: str) -> list[float]:
        return self._ms[name]

    def timings(self) -> dict[str, Timing]:
        """Returns row to its times."""
        return {name: timing(values) for name, values in self._ms.items()}


def timing(milliseconds: list[float]) -> Timing:
    """Summarises repetitions, milliseconds each."""
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Timing(float(median), float(high - low) / 2, len(milliseconds))


def timed(work: Callable[[], object], repeats: int) -> Timing:
    """Measures a function; a first call does not count."""
    watch = Stopwatch()
    work()
    with undisturbed():
        for _ in range(repeats):
            with watch.row("work"):
                work()
    return watch.timings()["work"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Turns garbage collection off inside the ``with`` block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
