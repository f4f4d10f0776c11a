"""A recording that is read in the background and can be shown at any position."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from semla_ros.errors import SemlaError
from semla_ros.recordings import OnError
from semla_ros.topics.domain import DomainSample
from semla_ros.view.history import History
from semla_ros.view.image_states import ImageStates
from semla_ros.view.playback import Playback
from semla_ros.view.report import domain_notices
from semla_ros.view.results import Item
from semla_ros.view.scene import PackedScene
from semla_ros.view.source import FREEZE, RELOAD, RESET, Notice, ViewError
from semla_ros.view.spool import Spool

LOG = logging.getLogger(__name__)
LEAD = 15  # images that are segmented ahead of the shown one
WAIT_S = 0.05
CLOSE_S = 5.0


class Footage(Protocol):
    """Where scenes come from: `semla_ros.view.results.Results` or `semla_ros.view.segmented.Segmented`."""

    def items(self, on_error: OnError) -> Iterator[Item]:
        """Yields scenes and domain states in order of time."""


class Player:
    """Reads a recording in a thread of its own, from the first `watch` on, and shows any image that has been read.

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
        self._footage, self._act = footage, act
        self._spool, self._states, self._playback = Spool(), ImageStates(), Playback(clock)
        self._lock = threading.RLock()
        self._shown: tuple[int, PackedScene] | None = None
        self._bad, self._last_error, self._failure = 0, "", ""
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Ends the reading and frees the temporary file."""
        self._is_closed = True
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        self._spool.close()

    def watch(self, is_watched: bool) -> None:
        """See `Source.watch`. The first call begins the reading; the clock stands by itself while nobody looks."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="semla_view_reader", daemon=True)
            self._thread.start()

    def newest(self) -> PackedScene | None:
        """The image at the present position."""
        with self._lock:
            index = self._playback.advance()
            if index < 0:
                return None
            if self._shown is None or self._shown[0] != index:
                self._shown = index, self._spool[index]
            return self._shown[1]

    def notices(self) -> Sequence[Notice]:
        """Damage of the recording, and what the domain state says at the present position."""
        found = []
        if self._failure:
            hint = "What was read before can be played." if len(self._spool) else ""
            found.append(Notice("error", f"Reading has ended early: {self._failure}", hint))
        if self._bad:
            found.append(Notice("warning", f"{self._bad} messages could not be read. The last one: {self._last_error}"))
        if not len(self._spool) and not self._failure:
            is_complete = self._playback.is_complete
            opening = "The models are being loaded." if self._act else "The recording is being opened."
            text = "The recording has no images." if is_complete else opening
            found.append(Notice("error" if is_complete else "info", text))
        sample = self._sample()
        return [*found, *(domain_notices(sample) if sample else ())]

    def status(self) -> Mapping[str, Any]:
        """Classes, domain state, position and actions."""
        with self._lock:
            sample, shown, playback = self._sample(), self._shown, self._playback
            return {
                "title": self.title,
                "classes": [[each.id, each.name, list(each.color)] for each in shown[1].classes] if shown else [],
                "domain": sample.as_json() if sample else None,
                "figures": {},
                "actions": [FREEZE, RESET, RELOAD] if self._act else [],
                "player": {
                    "playing": playback.is_playing,
                    "speed": playback.speed,
                    "position": round(playback.position_s, 3),
                    "length": playback.length_s,
                    "count": len(playback.times),
                    "complete": playback.is_complete,
                },
            }

    def act(self, action: str, value: Any = None) -> str:
        """Plays, pauses, seeks (seconds), steps (images), changes the speed, or acts upon the adaptation."""
        with self._lock:
            answer = self._playback.move(action, value)
        if answer is not None:
            return answer
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

    def _sample(self) -> DomainSample | None:
        return self._states[self._shown[0]] if self._shown else self.history.newest

    def _read(self) -> None:
        """Runs in the reader's thread until the recording or the view ends."""
        try:
            for item in self._footage.items(self._count_error):
                if self._is_closed:
                    return
                if isinstance(item, DomainSample):
                    self._take_state(item)
                    continue
                self._spool.append(item)
                self._states.add_image(item.stamp_ns)
                with self._lock:
                    self._playback.append(item.stamp_ns)
                self._wait_for_viewer()
        except SemlaError as error:
            self._failure = str(error)
        except Exception as error:
            LOG.exception("the reading of %s has failed unexpectedly", self.title)
            self._failure = f"{type(error).__name__}: {error}"
        self._playback.is_complete = True

    def _take_state(self, state: DomainSample) -> None:
        last = self.history.newest
        if last is None or not state.repeats(last):  # a long recording has a state for each image
            self.history.add(state)
        self._states.add_state(state)

    def _count_error(self, error: SemlaError) -> None:
        self._bad, self._last_error = self._bad + 1, str(error)

    def _wait_for_viewer(self) -> None:
        """Keeps the pipeline close to the image that is shown. A bag of results is read to its end at once."""
        while self._act is not None and not self._is_closed:
            with self._lock:
                ahead = len(self._playback.times) - self._playback.index - 1
            if ahead < LEAD:
                return
            time.sleep(WAIT_S)
