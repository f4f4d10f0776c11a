"""A recording with its clock: play, pause, speed and jumps."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from semla_ros.errors import ConfigError, SemlaError
from semla_ros.recordings import OnError
from semla_ros.view.history import DomainSample, History
from semla_ros.view.report import domain_notices
from semla_ros.view.results import Item
from semla_ros.view.scene import PackedScene
from semla_ros.view.source import FREEZE, RELOAD, RESET, Notice, ViewError
from semla_ros.view.spool import Spool

SPEEDS = (0.1, 10.0)
ABSENCE_S = 0.5  # the clock stands while nobody looks for so long
LEAD = 15  # images that are segmented ahead of the shown one
WAIT_S = 0.05


class Footage(Protocol):
    """Where scenes come from: `semla_ros.view.results.Results` or `semla_ros.view.segmented.Segmented`."""

    def items(self, on_error: OnError) -> Iterator[Item]:
        """Yields scenes and domain states in order of time."""


class Player:
    """Reads a recording in a thread of its own and shows any image that has been read.

    Args:
        title: Name of the recording.
        footage: The scenes and domain states.
        act: Does the actions of the adaptation; None where there is no pipeline.
        clock: Returns monotonic time in seconds.
    """

    def __init__(
        self,
        title: str,
        footage: Footage,
        act: Callable[[str, Any], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.history = title, History()
        self._footage, self._act, self._clock = footage, act, clock
        self._spool = Spool()
        self._times: list[float] = []  # of the scenes, seconds since the first one
        self._lock = threading.RLock()
        self._is_playing, self._speed = True, 1.0
        self._position_s, self._seen_s = 0.0, clock()
        self._shown: tuple[int, PackedScene] | None = None
        self._bad, self._last_error, self._failure = 0, "", ""
        self._is_complete = self._is_closed = False
        self._thread = threading.Thread(target=self._read, name="semla_view_reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the reading and frees the temporary file."""
        self._is_closed = True
        self._thread.join(5.0)
        self._spool.close()

    def watch(self, is_watched: bool) -> None:
        """See `Source.watch`. Nothing to do: the clock stands by itself while nobody looks."""

    def newest(self) -> PackedScene | None:
        """The image at the present position."""
        with self._lock:
            index = self._advance()
            if index is None:
                return None
            if self._shown is None or self._shown[0] != index:
                self._shown = index, self._spool[index]
            return self._shown[1]

    def notices(self) -> Sequence[Notice]:
        """Damage of the recording, and what the domain state says at the present position."""
        found = []
        if self._failure:
            hint = "What was read before can be played." if self._times else ""
            found.append(Notice("error", f"Reading has ended early: {self._failure}", hint))
        if self._bad:
            found.append(Notice("warning", f"{self._bad} messages could not be read. The last one: {self._last_error}"))
        if not self._times and not self._failure:
            opening = "The models are being loaded." if self._act else "The recording is being opened."
            text = "The recording has no images." if self._is_complete else opening
            found.append(Notice("error" if self._is_complete else "info", text))
        sample = self._sample()
        return [*found, *(domain_notices(sample) if sample else ())]

    def status(self) -> Mapping[str, Any]:
        """Classes, domain state, position and actions."""
        with self._lock:
            sample, shown = self._sample(), self._shown
            return {
                "title": self.title,
                "classes": [[each.id, each.name, list(each.color)] for each in shown[1].classes] if shown else [],
                "domain": sample.as_json() if sample else None,
                "figures": {},
                "actions": [FREEZE, RESET, RELOAD] if self._act else [],
                "player": {
                    "playing": self._is_playing,
                    "speed": self._speed,
                    "position": round(self._position_s, 3),
                    "length": self._times[-1] if self._times else 0.0,
                    "index": shown[0] if shown else 0,
                    "count": len(self._times),
                    "complete": self._is_complete,
                },
            }

    def act(self, action: str, value: Any = None) -> str:
        """Plays, pauses, seeks (seconds), steps (images), changes the speed, or acts upon the adaptation."""
        moves: dict[str, Callable[[Any], str]] = {
            "play": self._play, "pause": self._pause, "seek": self._seek, "step": self._step, "speed": self._set_speed
        }  # fmt: skip
        if action in moves:
            try:
                with self._lock:
                    return moves[action](value)
            except (TypeError, ValueError) as error:
                raise ViewError("not a number", where=action, got=value) from error
        if self._act is None:
            raise ViewError("a recording of results cannot be changed", got=action, hint="Its images are segmented.")
        return self._act(action, value)

    def parameters(self, names: Sequence[str] = ()) -> Mapping[str, Any]:
        """A recording has no parameters."""
        return {}

    def changed_parameters(self) -> Mapping[str, Any]:
        """A recording has no parameters."""
        return {}

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """A recording has no parameters."""
        raise ViewError("a recording has no parameters", got=", ".join(values), hint="Start it with --set instead.")

    def _play(self, _: Any) -> str:
        if self._is_complete and self._times and self._position_s >= self._times[-1]:
            self._position_s = 0.0
        self._is_playing = True
        return "playing"

    def _pause(self, _: Any) -> str:
        self._is_playing = False
        return "paused"

    def _seek(self, seconds: Any) -> str:
        last = self._times[-1] if self._times else 0.0
        self._position_s = min(max(0.0, float(seconds)), last)
        return f"at {self._position_s:.1f} s"

    def _step(self, count: Any) -> str:
        self._is_playing = False
        if self._times:
            index = bisect_right(self._times, self._position_s) - 1 + int(count)
            self._position_s = self._times[min(max(0, index), len(self._times) - 1)]
        return f"at {self._position_s:.1f} s"

    def _set_speed(self, factor: Any) -> str:
        low, high = SPEEDS
        if not low <= float(factor) <= high:
            raise ViewError("speed out of range", got=factor, expected=f"{low} to {high}")
        self._speed = float(factor)
        return f"{self._speed:g} times the original speed"

    def _advance(self) -> int | None:
        """Moves the clock to now; returns the index of the image there. It waits where nothing has been read yet."""
        now = self._clock()
        passed, self._seen_s = now - self._seen_s, now
        if not self._times:
            return None
        if self._is_playing and passed < ABSENCE_S:
            self._position_s += passed * self._speed
        if self._position_s >= self._times[-1]:
            self._position_s = self._times[-1]
            self._is_playing = self._is_playing and not self._is_complete
        return max(0, bisect_right(self._times, self._position_s) - 1)

    def _sample(self) -> DomainSample | None:
        return self.history.at(self._shown[1].stamp_ns) if self._shown else self.history.newest

    def _read(self) -> None:
        """Runs in the reader's thread until the recording or the view ends."""
        before_ns: int | None = None
        try:
            for item in self._footage.items(self._count_error):
                if self._is_closed:
                    return
                if isinstance(item, DomainSample):
                    self.history.add(item)
                    continue
                self._spool.append(item)
                passed_s = 0.0 if before_ns is None else max(0.0, 1e-9 * (item.stamp_ns - before_ns))
                before_ns = item.stamp_ns
                with self._lock:
                    self._times.append(self._times[-1] + passed_s if self._times else 0.0)
                self._wait_for_viewer()
            self._is_complete = True
        except (SemlaError, ConfigError, OSError) as error:
            self._failure, self._is_complete = str(error), True

    def _count_error(self, error: SemlaError) -> None:
        self._bad, self._last_error = self._bad + 1, str(error)

    def _wait_for_viewer(self) -> None:
        """Keeps the pipeline close to the image that is shown. A bag of results is read to its end at once."""
        while self._act is not None and not self._is_closed:
            with self._lock:
                shown = bisect_right(self._times, self._position_s)
            if len(self._times) - shown < LEAD:
                return
            time.sleep(WAIT_S)
