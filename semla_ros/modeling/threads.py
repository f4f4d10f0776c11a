"""How many CPU threads compute a frame: chosen while running, by the time that frames take.

OpenMP's threads wait for each other after every operation. On cores that other processes use, too, one of them is
always late, and fewer threads are faster. What else runs on a robot is not known in advance, so both are tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

WINDOW = 6  # frames whose median counts
SIMILAR = 1.3  # a median that differs by less than this factor has not changed
GAIN = 0.92  # another number of threads is taken if it needs less than this share of the time
PAIRS = 4  # pairs of frames per number in a trial; the first of a pair does not count
FIRST_WAIT, LONGEST_WAIT = 120, 1920  # frames between two trials while nothing changes; doubled after a vain one


def halvings(most: int) -> list[int]:
    """Returns 1, ..., most / 4, most / 2, most."""
    counts = [most]
    while counts[0] > 1:
        counts.insert(0, counts[0] // 2)
    return counts


class ThreadChooser:
    """Chooses the number of threads for the work inside `measured`, which is to be the same for every frame.

    When frames take longer or shorter than before, and from time to time anyway, the next smaller or larger number is
    tried in turn with the present one, two frames each, so that both meet the same load; the faster one is kept.

    Args:
        counts: Numbers of threads to choose from, in ascending order; the last one is used first.
        set_threads: Puts a number of threads into force for the calling thread.
    """

    def __init__(self, counts: list[int], set_threads: Callable[[int], None] = torch.set_num_threads) -> None:
        self._counts, self._set_threads = counts, set_threads
        self._chosen = self._index = len(counts) - 1
        self._step = -1  # direction of the next trial
        self._reference = 0.0  # seconds per frame with the chosen number; 0 if not known yet
        self._times: list[float] = []  # of the frames since the number was changed or confirmed
        self._trial: list[list[float]] = []  # seconds with the present number, and with the one that is tried
        self._wait = FIRST_WAIT

    @property
    def threads(self) -> int:
        """Number of threads in force."""
        return self._counts[self._index]

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measures the time of a frame's work. Call it in the thread that does the work, always the same one."""
        start = time.perf_counter()
        yield
        self.add(time.perf_counter() - start)

    def add(self, seconds: float) -> None:
        """Takes the time of a frame, and changes the number of threads for the next one if it is time to."""
        if len(self._counts) == 1:
            return
        self._times.append(seconds)
        if self._trial:
            self._judge()
        else:
            self._watch()

    def _watch(self) -> None:
        """Begins a trial if frames take longer or shorter than before, or if the last trial is long ago."""
        if len(self._times) <= WINDOW:  # the first frame after a change does not count
            return
        recent = median(self._times[-WINDOW:])
        before = self._reference or recent
        self._reference = before
        if 1 / SIMILAR < recent / before < SIMILAR:
            if len(self._times) < self._wait:
                return
        else:
            self._wait = FIRST_WAIT
        if not 0 <= self._chosen + self._step < len(self._counts):
            self._step = -self._step
        self._trial = [[], []]
        self._use(self._chosen + self._step)

    def _judge(self) -> None:
        """Compares the numbers after each two pairs of frames; keeps the one that was tried if it is faster."""
        trying = self._index != self._chosen
        if len(self._times) < 2:
            return
        self._trial[trying].append(self._times[-1])
        self._use(self._chosen if trying else self._chosen + self._step)
        if trying:
            return
        present, tried = median(self._trial[0]), median(self._trial[1])
        if tried < 2 * present and len(self._trial[0]) < PAIRS:
            return
        if tried < GAIN * present:
            self._chosen, self._wait = self._chosen + self._step, FIRST_WAIT
        else:
            self._step, self._wait = -self._step, min(2 * self._wait, LONGEST_WAIT)
        self._trial, self._reference = [], 0.0
        self._use(self._chosen)

    def _use(self, index: int) -> None:
        self._index, self._times = index, []
        self._set_threads(self._counts[index])
