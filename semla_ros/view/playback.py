"""The clock of a recording: play, pause, speed and jumps."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from semla_ros.view.source import ViewError

SPEEDS = (0.1, 10.0)
ABSENCE_S = 0.5  # the clock stands while nobody looks for so long
FIRST_INTERVAL_S = 0.1  # between the first two images if their stamps do not tell


class Playback:
    """Keeps the position in a recording that may still be growing. Not safe to use from several threads.

    Args:
        clock: Returns monotonic time in seconds.

    Attributes:
        times: Times of the images that can be shown, seconds since the first one.
        position_s: The position, seconds since the first image.
        is_playing: Whether the position moves.
        is_complete: Whether no images will follow.
        speed: Speed, 1 for the original one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.times: list[float] = []
        self.position_s, self.speed = 0.0, 1.0
        self.is_playing, self.is_complete = True, False
        self._clock, self._seen_s = clock, clock()
        self._stamp_ns, self._interval_s = 0, FIRST_INTERVAL_S

    @property
    def length_s(self) -> float:
        """Time of the last image."""
        return self.times[-1] if self.times else 0.0

    @property
    def index(self) -> int:
        """Number of the image at the position, from 0; -1 without images."""
        return bisect_right(self.times, self.position_s) - 1

    def append(self, stamp_ns: int) -> None:
        """Adds an image at the end. Where stamps do not increase, the interval is that of the images before."""
        passed_s = 1e-9 * (stamp_ns - self._stamp_ns)
        if self.times and passed_s > 0:
            self._interval_s = passed_s
        self.times.append(self.times[-1] + self._interval_s if self.times else 0.0)
        self._stamp_ns = stamp_ns

    def advance(self) -> int:
        """Moves the position to now, at most to the last image; returns the number of the image there, see `index`."""
        now = self._clock()
        passed, self._seen_s = now - self._seen_s, now
        if self.times and self.is_playing and passed < ABSENCE_S:
            self.position_s += passed * self.speed
        if self.times and self.position_s >= self.length_s:
            self.position_s = self.length_s
            self.is_playing = self.is_playing and not self.is_complete
        return self.index

    def move(self, action: str, value: Any = None) -> str | None:
        """Does "play", "pause", "seek" (to seconds), "step" (by images) or "speed" (a factor).

        Returns:
            What was done, for people; None if the action is another one.

        Raises:
            ViewError: The value is not a number, or out of range.
        """
        moves = {"play": self._play, "pause": self._pause, "seek": self._seek, "step": self._step, "speed": self._pace}
        if action not in moves:
            return None
        try:
            return moves[action](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ViewError("not a number", where=action, got=value) from error

    def _play(self, _: Any) -> str:
        if self.is_complete and self.position_s >= self.length_s:
            self.position_s = 0.0
        self.is_playing = True
        return "playing"

    def _pause(self, _: Any) -> str:
        self.is_playing = False
        return "paused"

    def _seek(self, seconds: Any) -> str:
        self.position_s = min(max(0.0, float(seconds)), self.length_s)
        return f"at {self.position_s:.1f} s"

    def _step(self, count: Any) -> str:
        self.is_playing = False
        index = min(max(0, self.index + int(count)), len(self.times) - 1)
        return self._seek(self.times[index] if self.times else 0.0)

    def _pace(self, factor: Any) -> str:
        low, high = SPEEDS
        if not low <= float(factor) <= high:
            raise ViewError("speed out of range", got=factor, expected=f"{low} to {high}")
        self.speed = float(factor)
        return f"{self.speed:g} times the original speed"
