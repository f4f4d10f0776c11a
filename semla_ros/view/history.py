"""The course of the domain state, for the timeline."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

LIMIT = 20_000  # samples; two per second for almost three hours
LATE_NS = 1_000_000_000  # as the default of tracker.stamp_tolerance_s


@dataclass(frozen=True, slots=True)
class DomainSample:
    """The domain state at one image.

    Attributes:
        stamp_ns: Stamp of the image, nanoseconds.
        adapters: Name, weight and distance of each active adapter, nearest adapter first.
        distance: Distance of the moving average of embeddings from the embedding that the mixture was made for.
        upper_threshold: Distance that starts the debounce timer.
        lower_threshold: Distance that stops it.
        support: Support score (paper, Eq. 15).
        swaps: Number of swaps since the start.
        out_of_distribution: Whether the images are unlike the training images of every adapter.
        frozen: Whether the mixture is held.
        error: Why the last adaptation failed; empty if it succeeded.
    """

    stamp_ns: int
    adapters: tuple[tuple[str, float, float], ...]
    distance: float
    upper_threshold: float
    lower_threshold: float
    support: float
    swaps: int
    out_of_distribution: bool
    frozen: bool
    error: str

    @classmethod
    def of(cls, stamp_ns: int, values: Mapping[str, str]) -> DomainSample:
        """Reads the pairs of `semla_ros.topics.domain.key_values`.

        Raises:
            KeyError: A pair is missing.
            ValueError: A value is not of its type.
        """
        adapters = json.loads(values["active_adapters"])
        return cls(
            stamp_ns,
            tuple((str(each["name"]), float(each["weight"]), float(each["distance"])) for each in adapters),
            float(values["ema_distance"]),
            float(values["upper_threshold"]),
            float(values["lower_threshold"]),
            float(values["support"]),
            int(values["swaps"]),
            values["out_of_distribution"] == "true",
            values["frozen"] == "true",
            values["error"],
        )  # fmt: skip

    def repeats(self, other: DomainSample) -> bool:
        """Whether the two differ in their stamps at most."""
        return replace(self, stamp_ns=other.stamp_ns) == other

    def as_json(self) -> dict[str, Any]:
        """The sample for the page: seconds instead of nanoseconds, and null for numbers that are not known."""
        return {
            "time": 1e-9 * self.stamp_ns,
            "adapters": [[name, weight, known(distance)] for name, weight, distance in self.adapters],
            "distance": known(self.distance),
            "upper": known(self.upper_threshold),
            "lower": known(self.lower_threshold),
            "support": known(self.support),
            "swaps": self.swaps,
            "unlike": self.out_of_distribution,
            "frozen": self.frozen,
            "error": self.error,
        }


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


def known(number: float) -> float | None:
    """The number; None, which JSON can hold, instead of NaN and infinity."""
    return number if math.isfinite(number) else None
