"""What every recording can do: give its images, one after the other, and go on after a bad one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TypeAlias, TypeVar

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.encodings import Labels
from semla_ros.images.frame import Frame

T = TypeVar("T")
OnError = Callable[[SemlaError], None]
Readings: TypeAlias = Generator[Callable[[], T], None, None]  # read later, so that a bad one does not end the rest


def refuse(error: SemlaError) -> None:
    """The default answer to a bad frame: it ends the reading."""
    raise error


class Recording(ABC):
    """Images of one camera.

    Attributes:
        path: File or folder.
        kind: "ros1 bag", "ros2 bag", "video" or "images".
        topic: Image topic of a bag; empty otherwise.
        frame_count: Number of images, good and bad; None where only reading tells.
    """

    kind: str

    def __init__(self, path: Path, *, topic: str = "", frame_count: int | None = None) -> None:
        self.path = path
        self.topic = topic
        self.frame_count = frame_count

    def frames(self, on_error: OnError = refuse) -> Iterator[Frame]:
        """Yields the images in recorded order; may be called again, and starts anew then.

        Args:
            on_error: Called with each bad frame's error, after which the next frame follows.
                By default the error is raised.

        Raises:
            RecordingError: A image cannot be decoded, or the recording breaks off; says which frame.
        """
        return self._read(self._images(), "frame", on_error)

    def ground_truth(self, on_error: OnError = refuse) -> Iterator[tuple[int, Labels]]:
        """Yields (stamp_ns, class ids) of the ground truth masks, (H, W), in recorded order; nothing without them.

        Args:
            on_error: As in `frames`.

        Raises:
            RecordingError: A mask cannot be decoded, or the recording breaks off; says which mask.
        """
        return self._read(self._masks(), "ground truth mask", on_error)

    def _read(self, readings: Readings[T], what: str, on_error: OnError) -> Iterator[T]:
        place = f"{self.path} [{self.topic}]" if self.topic else str(self.path)
        with closing(readings):
            for index in count():
                try:
                    read = next(readings, None)
                    if read is None:
                        return
                    item = read()
                except SemlaError as error:
                    on_error(RecordingError(f"{place}, {what} {index}: {error}"))
                else:
                    yield item

    @abstractmethod
    def _images(self) -> Readings[Frame]: ...

    def _masks(self) -> Readings[tuple[int, Labels]]:
        yield from ()


def with_ground_truth(
    frames: Iterator[Frame], masks: Iterator[tuple[int, Labels]]
) -> Iterator[tuple[Frame, Labels | None]]:
    """Pairs every frame with the ground truth mask of the very same stamp, or None; both in order of time."""
    ahead: dict[int, Labels] = {}
    for frame in frames:
        while not any(stamp >= frame.stamp_ns for stamp in ahead):
            found = next(masks, None)
            if found is None:
                break
            ahead[found[0]] = found[1]
        yield frame, ahead.get(frame.stamp_ns)
        ahead = {stamp: mask for stamp, mask in ahead.items() if stamp > frame.stamp_ns}
