"""How many CPU threads compute a frame: fewer while other processes use the cores.

OpenMP's threads wait for each other after every operation. On cores that other processes use, too, one of them is
always late, and fewer threads are faster. Linux counts how long a thread has waited for a core; this shows the load
within a few frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SCHEDSTAT = Path("/proc/thread-self/schedstat")  # of the calling thread: time on a core, time waiting for one, slices
WINDOW_S = 0.25  # frames of this much time together are judged
CROWDED = 0.2  # share of the time waiting for a core above which fewer threads are used
CALM = 0.05  # share below which more threads are tried
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 64.0  # calm time before more threads are tried; doubled each time it was too short
TRIAL_S = 3.0  # time after which a larger number has proved itself


def halvings(most: int) -> list[int]:
    """Returns 1, ..., most / 4, most / 2, most."""
    counts = [most]
    while counts[0] > 1:
        counts.insert(0, counts[0] // 2)
    return counts


def waited_s() -> float:
    """Returns how long the calling thread has been ready to run without a core so far, seconds; 0 if not known."""
    try:
        return int(SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):  # another system, or a kernel that does not count it
        return 0.0


class ThreadChooser:
    """Chooses the number of threads for the work inside `measured`.

    If the calling thread waits for a core during more than `CROWDED` of the time, the next smaller number is used.
    After some time with hardly any waiting, the next larger number is used again. Only time inside `measured` counts.

    Args:
        counts: Numbers of threads to choose from, in ascending order; the last one is used first.
        set_threads: Puts a number of threads into force for the calling thread.
    """

    def __init__(self, counts: list[int], set_threads: Callable[[int], None] = torch.set_num_threads) -> None:
        self._counts, self._set_threads = counts, set_threads
        self._index = len(counts) - 1
        self._window_s = self._waited_s = 0.0  # of the frames that are not judged yet: their time, and waiting in it
        self._since_change_s = self._calm_s = 0.0
        self._wait_s = FIRST_WAIT_S

    @property
    def threads(self) -> int:
        """Number of threads in force."""
        return self._counts[self._index]

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures how long the calling thread waits for a core. Call it in the thread that does the work."""
        start, waited = time.perf_counter(), waited_s()
        yield
        self.add(time.perf_counter() - start, waited_s() - waited)

    def add(self, seconds: float, waited_s: float) -> None:
        """Takes the time of a frame and the waiting in it, and chooses the number of threads for the next frame."""
        self._window_s += seconds
        self._waited_s += waited_s
        if self._window_s >= WINDOW_S:
            self._judge(self._window_s, self._waited_s / self._window_s)
            self._window_s = self._waited_s = 0.0

    def _judge(self, seconds: float, share: float) -> None:
        self._since_change_s += seconds
        self._calm_s = self._calm_s + seconds if share < CALM else 0.0
        if share > CROWDED and self._index > 0:
            too_early = self._since_change_s < TRIAL_S
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S) if too_early else FIRST_WAIT_S
            self._use(self._index - 1)
        elif self._calm_s >= self._wait_s and self._index < len(self._counts) - 1:
            self._use(self._index + 1)

    def _use(self, index: int) -> None:
        self._index = index
        self._since_change_s = self._calm_s = 0.0
        self._set_threads(self._counts[index])
