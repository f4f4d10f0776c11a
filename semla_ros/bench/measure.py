"""Times: medians and spreads of rows that are run in turn, so that a machine's moods hit all alike."""

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
    """Milliseconds.

    Attributes:
        median: Of all repetitions.
        spread: Half the distance between the quartiles.
        repeats: Their number.
    """

    median: float
    spread: float
    repeats: int


class Stopwatch:
    """Collects what rows take; waits for CUDA on both sides."""

    def __init__(self) -> None:
        self._ms: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def row(self, name: str) -> Iterator[None]:
        """Times what happens inside."""
        _finish()
        start = time.perf_counter()
        yield
        _finish()
        self._ms[name].append(1e3 * (time.perf_counter() - start))

    def __getitem__(self, name: str) -> list[float]:
        return self._ms[name]

    def timings(self) -> dict[str, Timing]:
        """Row to its times."""
        return {name: timing(values) for name, values in self._ms.items()}


def timing(milliseconds: list[float]) -> Timing:
    """Median and spread of repetitions."""
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return Timing(float(median), float(high - low) / 2, len(milliseconds))


def timed(work: Callable[[], object], repeats: int) -> Timing:
    """Times one piece of work, after a first run that does not count."""
    watch = Stopwatch()
    work()
    with undisturbed():
        for _ in range(repeats):
            with watch.row("work"):
                work()
    return watch.timings()["work"]


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection meanwhile."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
