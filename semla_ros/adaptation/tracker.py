"""Detects changes of the domain: moving average, hysteresis and debounce (SemLA, section E)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import checked
from semla_ros.config import TrackerConfig
from semla_ros.images.frame import SECOND_NS

Vector = NDArray[np.float64]
Metric = Callable[[Vector, Vector], float]
REST_SHARE = 0.5  # share of the lower threshold beyond which a resting average counts as away from the anchor


class Decision(Enum):
    """What to do with the active mixture."""

    HOLD = "hold"
    SWAP = "swap"


@dataclass
class DomainTracker:
    """Smooths the embeddings over time and decides when to retrieve a new mixture.

    A swap is due in three cases: there is no mixture yet; the moving average has stayed far from the anchor for
    ``debounce_s`` (the domain has changed); or, once after each swap, the average has come to rest away from the anchor
    (the mixture was retrieved in the middle of a change). Waiting for the third case is called the settling check. The
    average rests while it stays within the lower threshold of one position for ``debounce_s``. All times are message
    stamps, never the wall clock.

    Attributes:
        config: Time constants and stamp tolerance. Its thresholds are ignored in favour of the two below.
        upper_threshold: Distance to the anchor above which the debounce clock starts.
        lower_threshold: Distance to the anchor below which the debounce clock stops.
        metric: Distance between two embeddings (D,).
        ema: Moving average of the embeddings (D,); None before the first embedding.
        texture: Moving average of the textures (F,) of the same frames, with the same time constant; None if the
            newest update had none.
        anchor: Moving average (D,) that the active mixture was retrieved for; None before the first mixture.
    """

    config: TrackerConfig
    upper_threshold: float
    lower_threshold: float
    metric: Metric
    ema: Vector | None = None
    texture: Vector | None = None
    anchor: Vector | None = None
    _stamp_ns: int = field(default=0, init=False)
    _beyond_ns: int | None = field(default=None, init=False)  # when the debounce clock started
    _swap_ns: int | None = field(default=None, init=False)
    # Settling check: where the average rests and since when, None while there is no check; whether it makes a swap due.
    _rest: tuple[Vector, int] | None = field(default=None, init=False)
    _has_settled_away: bool = field(default=False, init=False)

    @property
    def distance(self) -> float:
        """Distance from the moving average to the anchor; NaN before the first mixture."""
        return math.nan if self.ema is None or self.anchor is None else self.metric(self.ema, self.anchor)

    @property
    def drifting(self) -> bool:
        """Whether the debounce clock runs, so that a swap may follow soon."""
        return self._beyond_ns is not None

    def update(self, embedding: Vector, stamp_ns: int, texture: Vector | None = None) -> Decision:
        """Adds the newest embedding to the average and decides about the active mixture.

        An embedding that is older than the last one by up to ``stamp_tolerance_s`` is ignored. An older one means that
        the stamps have started over (a bag that is played in a loop): the tracker starts over, too.

        Args:
            embedding: Embedding (D,).
            stamp_ns: Message stamp of its frame, nanoseconds.
            texture: Texture (F,) of its frame. It is averaged, too, and has no effect on the decision.

        Raises:
            EmbeddingError: The embedding is not finite, or its dimension has changed. The state stays unchanged.
        """
        embedding = checked(embedding, len(embedding) if self.ema is None else len(self.ema))
        if self.ema is not None and stamp_ns < self._stamp_ns:
            if self._stamp_ns - stamp_ns <= self.config.stamp_tolerance_s * SECOND_NS:
                return Decision.HOLD
            self.reset()
        self._average(embedding, texture, stamp_ns)
        self._watch_distance()
        self._watch_rest()
        return Decision.SWAP if self._is_due() else Decision.HOLD

    def swapped(self) -> None:
        """Notes that a new mixture is active from now on. The moving average becomes the anchor.

        The minimum interval starts and, unless the swap was made by a settling check, a settling check.
        """
        by_settling_check = self._has_settled_away
        self.kept()
        self._swap_ns = self._stamp_ns
        if not by_settling_check and self.ema is not None:
            self._rest = self.ema, self._stamp_ns

    def kept(self) -> None:
        """Notes that a swap was due and the mixture stays active nevertheless. The moving average becomes the anchor.

        Unlike `swapped` it starts neither the minimum interval nor a settling check.
        """
        self.anchor = self.ema
        self._beyond_ns = self._rest = None
        self._has_settled_away = False

    def forget_mixture(self) -> None:
        """Makes a swap due at the next embedding. The moving average stays."""
        self.anchor, self._has_settled_away = None, False

    def reset(self) -> None:
        """Returns to the initial state."""
        self.ema = self.texture = self.anchor = self._beyond_ns = self._swap_ns = self._rest = None
        self._has_settled_away = False

    def _average(self, embedding: Vector, texture: Vector | None, stamp_ns: int) -> None:
        """Moving averages by time, α = 1 − exp(−Δt / τ): they depend neither on frame rate nor on dropped frames."""
        if self.ema is None or self.config.ema_time_s == 0:
            self.ema, self.texture = embedding, texture
        else:
            alpha = -math.expm1(-(stamp_ns - self._stamp_ns) / SECOND_NS / self.config.ema_time_s)
            self.ema = self.ema + alpha * (embedding - self.ema)
            if texture is not None and self.texture is not None:
                texture = self.texture + alpha * (texture - self.texture)
            self.texture = texture
        self._stamp_ns = stamp_ns

    def _watch_distance(self) -> None:
        """Starts the debounce clock above the upper threshold and stops it below the lower one (hysteresis)."""
        if self.distance < self.lower_threshold:
            self._beyond_ns = None
        elif self.distance > self.upper_threshold and self._beyond_ns is None:
            self._beyond_ns = self._stamp_ns

    def _watch_rest(self) -> None:
        """Settling check: waits until the average rests. If it rests away from the anchor, a swap is due."""
        if self._rest is None or self.ema is None:
            return
        position, since_ns = self._rest
        if self.metric(self.ema, position) > self.lower_threshold:
            self._rest, self._has_settled_away = (self.ema, self._stamp_ns), False
        elif self._has_passed(self.config.debounce_s, since_ns):
            self._has_settled_away = self.distance > REST_SHARE * self.lower_threshold
            self._rest = self._rest if self._has_settled_away else None

    def _is_due(self) -> bool:
        """Whether a swap is due. After a change of the domain the settling check is no longer needed."""
        if self.anchor is None or self._swap_ns is None:
            return True
        left = self._beyond_ns is not None and self._has_passed(self.config.debounce_s, self._beyond_ns)
        self._has_settled_away = self._has_settled_away and not left
        return (left or self._has_settled_away) and self._has_passed(self.config.min_interval_s, self._swap_ns)

    def _has_passed(self, seconds: float, since_ns: int) -> bool:
        return self._stamp_ns - since_ns >= seconds * SECOND_NS
