"""The output of the node, read from the recorder's bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from semla_ros.demo.topics import CAMERA_INFO, CONFIDENCE, DIAGNOSTICS, MASK, STATE
from semla_ros.images.classes import Labels
from semla_ros.images.encodings import encoding_of, pixels
from semla_ros.recordings.bag_files import BagFiles
from semla_ros.recordings.replay import Swap
from semla_ros.topics.domain import DomainSample
from semla_ros.topics.messages import stamp_ns


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
    states: list[DomainSample] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, bag: Path) -> Recorded:
        """Reads the recorder's bag.

        Raises:
            RecordingError: It is damaged.
        """
        recorded, files = cls(), BagFiles(bag)
        for message in files.messages({MASK, CONFIDENCE, CAMERA_INFO, DIAGNOSTICS, STATE}):
            recorded._take(message.topic, message.time_ns, files.deserialized(message))
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
            self.states.append(DomainSample.of(stamp, _values(message)))

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
