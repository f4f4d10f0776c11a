"""Tells when the domain has really changed (SemLA, section E: moving average and debounced threshold)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import checked
from semla_ros.config import TrackerConfig

Vector = NDArray[np.float64]
SECOND_NS = 1_000_000_000


@dataclass
class DomainTracker:
    """Smooths embeddings over time and tells when to retrieve anew. Times are message stamps, never the wall clock.

    Attributes:
        config: Time constants; its thresholds are ignored in favour of the two below.
        upper_threshold: Distance to the anchor beyond which the debounce clock starts.
        lower_threshold: Distance below which it stops again.
        ema: Moving average of embeddings, None before the first.
        anchor: Moving average at the last swap: what the active mixture was made for.
    """

    config: TrackerConfig
    upper_threshold: float
    lower_threshold: float
    ema: Vector | None = None
    anchor: Vector | None = None
    _stamp_ns: int = field(default=0, init=False)
    _beyond_ns: int | None = field(default=None, init=False)
    _swap_ns: int | None = field(default=None, init=False)

    @property
    def distance(self) -> float:
        """From the moving average to the anchor; NaN before the first swap."""
        return math.nan if self.ema is None or self.anchor is None else float(np.linalg.norm(self.ema - self.anchor))

    @property
    def drifting(self) -> bool:
        """Whether the clock runs: a swap may come."""
        return self._beyond_ns is not None

    def update(self, embedding: Vector, stamp_ns: int) -> bool:
        """Takes the newest embedding (D,) in and tells whether a swap is due.

        A stamp that jumps back (a bag that loops) starts everything over.

        Raises:
            EmbeddingError: Not finite, or of another dimension than the ones before; the state stays as it was.
        """
        embedding = checked(embedding, len(embedding) if self.ema is None else len(self.ema))
        if self.ema is not None and stamp_ns < self._stamp_ns:
            self.reset()
        self._average(embedding, stamp_ns)
        self._watch(stamp_ns)
        return self._due(stamp_ns)

    def swapped(self) -> None:
        """The mixture now fits the moving average: distances are measured from here."""
        self.skipped()
        self._swap_ns = self._stamp_ns

    def skipped(self) -> None:
        """The mixture fits the moving average as it is: distances are measured from here, the interval goes on."""
        self.anchor = self.ema
        self._beyond_ns = None

    def reset(self) -> None:
        """Forgets all, as if just started."""
        self.ema = self.anchor = self._beyond_ns = self._swap_ns = None

    def _average(self, embedding: Vector, stamp_ns: int) -> None:
        """EMA by time, α = 1 − exp(−Δt / τ), so that frame rate and dropped frames do not matter."""
        if self.ema is None or self.config.ema_time_s == 0:
            self.ema = embedding
        else:
            alpha = -math.expm1(-(stamp_ns - self._stamp_ns) / SECOND_NS / self.config.ema_time_s)
            self.ema = self.ema + alpha * (embedding - self.ema)
        self._stamp_ns = stamp_ns

    def _watch(self, stamp_ns: int) -> None:
        """Starts the clock beyond ``upper_threshold``, stops it below ``lower_threshold``, lets it run in between."""
        if self.distance < self.lower_threshold:
            self._beyond_ns = None
        elif self.distance > self.upper_threshold and self._beyond_ns is None:
            self._beyond_ns = stamp_ns

    def _due(self, stamp_ns: int) -> bool:
        if self.anchor is None or self._swap_ns is None:
            return True
        if self._beyond_ns is None:
            return False
        dwelt = stamp_ns - self._beyond_ns >= self.config.debounce_s * SECOND_NS
        rested = stamp_ns - self._swap_ns >= self.config.min_interval_s * SECOND_NS
        return dwelt and rested
