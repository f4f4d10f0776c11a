"""The course of the domain state, for the timeline."""

from __future__ import annotations

import threading

from semla_ros.topics.domain import DomainSample

LIMIT = 20_000  # samples; two per second for almost three hours
LATE_NS = 1_000_000_000  # as the default of tracker.stamp_tolerance_s


class History:
    """The samples in order of time, the newest `LIMIT` of them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: list[DomainSample] = []
        self._first = 0  # number of the oldest sample that is kept

    @property
    def newest(self) -> DomainSample | None:
        """The last sample; None before the first."""
        with self._lock:
            return self._samples[-1] if self._samples else None

    def add(self, sample: DomainSample) -> None:
        """Adds a sample, unless it repeats the last one or is a little older.

        A stamp that jumps back by more than `LATE_NS` begins a new history.
        """
        with self._lock:
            last = self._samples[-1] if self._samples else None
            if sample == last:
                return
            if last is not None and sample.stamp_ns < last.stamp_ns:
                if last.stamp_ns - sample.stamp_ns <= LATE_NS:
                    return
                self._begin()
            self._samples.append(sample)
            surplus = len(self._samples) - LIMIT
            if surplus > 0:
                self._first += surplus
                del self._samples[:surplus]

    def clear(self) -> None:
        """Begins a new history."""
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        self._first += len(self._samples) + 1  # one more, so that every reader notices
        self._samples = []

    def since(self, number: int) -> tuple[bool, list[DomainSample], int]:
        """What a reader does not know yet.

        Args:
            number: What the last call returned for this reader; -1 at first.

        Returns:
            Whether the reader must forget what it has, the samples to add, and the number for the next call.
        """
        with self._lock:
            restart = number < self._first
            new = self._samples[0 if restart else number - self._first :]
            return restart, new, self._first + len(self._samples)
