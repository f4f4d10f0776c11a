"""The interface of all recordings: their images in order, with errors that do not end the reading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TypeAlias, TypeVar

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.classes import Labels
from semla_ros.images.frame import Frame

T = TypeVar("T")
OnError = Callable[[SemlaError], None]
Readings: TypeAlias = Generator[Callable[[], T], None, None]  # decoded later, so that a bad item does not end the rest


class FrameError(RecordingError):
    """An image of a recording cannot be read.

    Attributes:
        number: Its number in the recording, from 0.
    """

    def __init__(self, what: str, number: int) -> None:
        super().__init__(what)
        self.number = number


class IncompleteError(FrameError):
    """A recording ends before all of its images have been read.

    Attributes:
        number: Number of images before the end.
        missing: Number of images that could not be read; None if it is unknown.
    """

    missing: int | None = None


def refuse(error: SemlaError) -> None:
    """The default error handler: raises the error, which ends the reading."""
    raise error


class Recording(ABC):
    """Images of one camera.

    Attributes:
        path: File or folder.
        kind: "ros1 bag", "ros2 bag", "video" or "images".
        topic: Image topic of a bag; empty for other kinds.
        frame_count: Number of images, including those that cannot be decoded; None if only reading can tell.
    """

    kind: str

    def __init__(self, path: Path, *, topic: str = "", frame_count: int | None = None) -> None:
        self.path = path
        self.topic = topic
        self.frame_count = frame_count

    def frames(self, on_error: OnError = refuse) -> Iterator[Frame]:
        """Yields the images in recorded order. Each call starts at the beginning.

        Args:
            on_error: Called with the error of each image that cannot be read; reading then goes on with the next
                image. The last call may have an `IncompleteError`. By default errors are raised.

        Raises:
            RecordingError: An image cannot be decoded. The message names the image.
            IncompleteError: The recording ends early.
        """
        return (frame for _, frame in self.numbered_frames(on_error))

    def numbered_frames(
        self, on_error: OnError = refuse, wanted: Callable[[int], bool] = lambda number: True
    ) -> Iterator[tuple[int, Frame]]:
        """Yields (number, image) in recorded order. Numbers count all images, those that cannot be read included.

        Args:
            on_error: As in `frames`.
            wanted: Returns whether the image of a number is decoded and yielded.

        Raises:
            RecordingError: As for `frames`.
        """
        return self._read(self._images(), "frame", self.frame_count, on_error, wanted)

    def frame_name(self, number: int) -> str:
        """Returns a name for files that are made of an image: the number, or the stem of an image file's own name."""
        return f"{number:06d}"

    def file_size(self, number: int) -> int:
        """Returns the size of an image's own file in bytes; 0 for images in bags and videos, and without a file."""
        return 0

    def ground_truth(self, on_error: OnError = refuse) -> Iterator[tuple[int, Labels]]:
        """Yields (stamp_ns, class ids (H, W)) of each ground truth mask in recorded order; nothing if there are none.

        Args:
            on_error: As in `frames`.

        Raises:
            RecordingError: A mask cannot be decoded. The message names the mask.
            IncompleteError: The recording ends early.
        """
        masks = self._read(self._masks(), "ground truth mask", None, on_error, lambda number: True)
        return (mask for _, mask in masks)

    def _read(
        self, readings: Readings[T], what: str, total: int | None, on_error: OnError, wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, T]]:
        place = f"{self.path} [{self.topic}]" if self.topic else str(self.path)
        with closing(readings):
            for index in count():
                try:
                    decode = next(readings, None)
                except SemlaError as error:  # the reader gave up: nothing follows
                    on_error(_incomplete(f"{place}, {what} {index}: {error}", index, total))
                    return
                if decode is None:
                    return
                if not wanted(index):
                    continue
                try:
                    item = decode()
                except SemlaError as error:
                    on_error(FrameError(f"{place}, {what} {index}: {error}", index))
                else:
                    yield index, item

    @abstractmethod
    def _images(self) -> Readings[Frame]:
        """Yields a function for each image that decodes it."""

    def _masks(self) -> Readings[tuple[int, Labels]]:
        """Yields a function for each ground truth mask that decodes it."""
        yield from ()


def with_ground_truth(
    frames: Iterator[Frame], masks: Iterator[tuple[int, Labels]]
) -> Iterator[tuple[Frame, Labels | None]]:
    """Yields each frame with the ground truth mask of the same stamp, or with None.

    Both must be in order of time. One mask is kept at a time, so memory does not depend on where the masks begin.
    """
    stamp_ns, mask = -1, None
    for frame in frames:
        while mask is None or stamp_ns < frame.stamp_ns:
            stamp_ns, mask = next(masks, (-1, None))
            if mask is None:  # no masks are left
                break
        yield frame, mask if stamp_ns == frame.stamp_ns else None
        if stamp_ns <= frame.stamp_ns:
            mask = None


def _incomplete(what: str, read: int, total: int | None) -> IncompleteError:
    missing = total - read if total is not None and total > read else None
    error = IncompleteError(what if missing is None else f"{what} ({missing} of {total} are missing)", read)
    error.missing = missing
    return error
