"""The output of the node, read from the recorder's bag."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader

from semla_ros.demo.topics import CAMERA_INFO, CONFIDENCE, DIAGNOSTICS, MASK, STATE
from semla_ros.images.classes import Labels
from semla_ros.images.encodings import encoding_of, pixels
from semla_ros.recordings.replay import Swap
from semla_ros.topics.messages import stamp_ns


@dataclass(frozen=True, slots=True)
class StateSample:
    """The node's domain state at one image.

    Attributes:
        stamp_ns: Stamp of the image, nanoseconds.
        weights: Weights of the active adapters by name, nearest adapter first.
        distance: Distance of the moving average of embeddings from the embedding that the mixture was made for.
        upper_threshold: Distance that starts the debounce timer.
        lower_threshold: Distance that stops it.
        support: Support score (paper, Eq. 15).
        swaps: Number of swaps since the start.
    """

    stamp_ns: int
    weights: Mapping[str, float]
    distance: float
    upper_threshold: float
    lower_threshold: float
    support: float
    swaps: int


@dataclass
class Recorded:
    """The recorded output of the node. All times and stamps are nanoseconds.

    Attributes:
        masks: Class ids, (H, W), by stamp.
        confidences: Number of confidence images.
        sent_ns: Time at which the image was sent, by stamp.
        arrived_ns: Time at which its mask arrived, by stamp.
        states: Domain states in order of time, one per change.
        figures: Key-value pairs of the node's last diagnostics.
    """

    masks: dict[int, Labels] = field(default_factory=dict)
    confidences: int = 0
    sent_ns: dict[int, int] = field(default_factory=dict)
    arrived_ns: dict[int, int] = field(default_factory=dict)
    states: list[StateSample] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, bag: Path) -> Recorded:
        """Reads the recorder's bag."""
        recorded = cls()
        with AnyReader([bag]) as reader:
            for connection, time_ns, data in reader.messages():
                recorded._take(connection.topic, time_ns, reader.deserialize(data, connection.msgtype))
        return recorded

    def _take(self, topic: str, time_ns: int, message: Any) -> None:
        if topic == MASK:
            self.masks[stamp_ns(message.header)] = pixels(message, encoding_of(message))
            self.arrived_ns[stamp_ns(message.header)] = time_ns
        elif topic == CONFIDENCE:
            self.confidences += 1
        elif topic == CAMERA_INFO:
            self.sent_ns[stamp_ns(message.header)] = time_ns
        elif topic == DIAGNOSTICS:
            self.figures = _values(message)
        elif topic == STATE:
            self._take_state(message)

    def _take_state(self, message: Any) -> None:
        """Adds a new state. States are repeated every second, and published once before the first image."""
        stamp = stamp_ns(message.header)
        if stamp and (not self.states or stamp > self.states[-1].stamp_ns):
            self.states.append(_state(stamp, _values(message)))

    @property
    def swaps(self) -> tuple[Swap, ...]:
        """All changes of the mixture, including the first mixture."""
        counts = [0, *(state.swaps for state in self.states)]
        return tuple(
            Swap(state.stamp_ns, tuple(state.weights), tuple(state.weights.values()))
            for (before, after), state in zip(pairwise(counts), self.states, strict=True)
            if after > before
        )

    @property
    def latencies_ms(self) -> list[float]:
        """Times from the sending of an image to the arrival of its mask, both seen by the recorder."""
        return [1e-6 * (at - self.sent_ns[stamp]) for stamp, at in self.arrived_ns.items() if stamp in self.sent_ns]

    @property
    def fps(self) -> float:
        """Masks per second between the first and the last mask; 0 with fewer than two."""
        times = sorted(self.arrived_ns.values())
        return 1e9 * (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0

    def frames(self, what: str) -> int:
        """The node's count of frames that were ``received``, ``segmented``, ``dropped`` or ``failed``."""
        return int(self.figures.get(f"frames_{what}", 0))


def _values(message: Any) -> dict[str, str]:
    return {each.key: each.value for each in message.status[0].values}


def _state(stamp: int, values: Mapping[str, str]) -> StateSample:
    return StateSample(
        stamp_ns=stamp,
        weights={each["name"]: each["weight"] for each in json.loads(values["active_adapters"])},
        distance=float(values["ema_distance"]),
        upper_threshold=float(values["upper_threshold"]),
        lower_threshold=float(values["lower_threshold"]),
        support=float(values["support"]),
        swaps=int(values["swaps"]),
    )
