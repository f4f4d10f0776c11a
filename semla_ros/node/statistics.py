"""Counts of frames and how long they took."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping

import numpy as np

COUNTS = "received", "segmented", "dropped", "failed"
WINDOW = 100
RATE_WINDOW_S = 5.0


class Statistics:
    """Counts frames and keeps the latencies of the last hundred. Safe to use from several threads.

    Every frame that is received is in the end segmented, dropped or failed. ``camera`` is the name of its camera, empty
    where there is only one; frames of cameras with a name are also counted per camera.

    Args:
        clock: Returns monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)  # of each camera
        self._latency: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._ages: deque[float] = deque(maxlen=WINDOW)
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)  # of each count, seconds
        self._alarmed = -math.inf
        self._last_error = ""

    def receive(self, camera: str = "") -> None:
        """Counts a frame that arrived."""
        self._count("received", camera)

    def drop(self, camera: str = "") -> None:
        """Counts a waiting frame that a newer one replaced."""
        self._count("dropped", camera)

    def fail(self, error: str, camera: str = "") -> None:
        """Counts a frame that could not be segmented, and raises an alarm."""
        self._count("failed", camera)
        self.alarm(error)

    def alarm(self, error: str) -> None:
        """Records a failure, whether or not a frame was lost by it."""
        self._alarmed = self._clock()
        self._last_error = error

    def finish(self, latency_s: Mapping[str, float], age_s: float | None, camera: str = "") -> None:
        """Counts a frame that was segmented and published.

        Args:
            latency_s: Stage to seconds.
            age_s: Time from the stamp to publication, seconds. None if it is not known; ages recorded before
                are then forgotten, because they no longer describe the camera.
            camera: Name of the camera.
        """
        self._count("segmented", camera)
        with self._lock:
            for stage, seconds in latency_s.items():
                self._latency[stage].append(seconds)
            if age_s is None:
                self._ages.clear()
            else:
                self._ages.append(age_s)

    @property
    def alarming(self) -> bool:
        """Whether there was a failure within the last five seconds."""
        return self._clock() - self._alarmed < RATE_WINDOW_S

    @property
    def last_error(self) -> str:
        """The last failure; empty if there was none."""
        return self._last_error

    @property
    def fps(self) -> float:
        """Frames segmented per second, over the last five seconds."""
        return self.rate("segmented")

    def rate(self, what: str) -> float:
        """Returns how many frames per second were received, segmented, dropped or failed in the last five seconds."""
        with self._lock:
            return len(self._recent(what, self._clock())) / RATE_WINDOW_S

    def medians_s(self) -> dict[str, float]:
        """Returns the median latency of each stage that has run, seconds."""
        with self._lock:
            return {stage: float(np.median(seconds)) for stage, seconds in self._latency.items()}

    def key_values(self) -> dict[str, str]:
        """All figures as pairs of strings for a diagnostic message."""
        values = {"fps": f"{self.fps:.2f}"}
        with self._lock:
            per_prefix = {"": sum(self._counts.values(), Counter[str]())}
            per_prefix |= {f"{camera}/": counts for camera, counts in self._counts.items() if camera}
            for prefix, counts in per_prefix.items():
                values |= {f"{prefix}frames_{what}": str(counts[what]) for what in COUNTS}
            for stage, seconds in self._latency.items():
                values |= _percentiles(f"latency_{stage}", seconds)
            return values | _percentiles("age", self._ages) | {"last_error": self._last_error}

    def _count(self, what: str, camera: str) -> None:
        with self._lock:
            self._counts[camera][what] += 1
            now = self._clock()
            self._recent(what, now).append(now)

    def _recent(self, what: str, now: float) -> deque[float]:
        """Times of a count within the last five seconds; older ones are forgotten."""
        times = self._times[what]
        while times and now - times[0] >= RATE_WINDOW_S:
            times.popleft()
        return times


def _percentiles(name: str, seconds: deque[float]) -> dict[str, str]:
    """Median and 95th percentile in milliseconds; empty without values."""
    if not seconds:
        return {}
    median, p95 = 1000.0 * np.percentile(seconds, (50, 95))
    return {f"{name}_ms_median": f"{median:.2f}", f"{name}_ms_p95": f"{p95:.2f}"}
