"""The record of a library's gaps on disk: ``gaps.json``, and ``images/<stamp>.jpg`` for each example."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.gaps import Gaps
from semla_ros.errors import RecordingError
from semla_ros.images.files import encoded, write_whole

STATE, IMAGES, SUFFIX = "gaps.json", "images", ".jpg"
MAX_STATE_BYTES = 2**26


class GapRecord:
    """A folder with such a record.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[int, int] = {}  # stamp of an example to bytes of its file

    @property
    def image_bytes(self) -> int:
        """Size of all examples, bytes."""
        return sum(self._sizes.values())

    def image(self, stamp_ns: int) -> Path:
        """Returns the file of an example."""
        return self.folder / IMAGES / f"{stamp_ns}{SUFFIX}"

    def open(self, dimension: int) -> Gaps | None:
        """Creates the folder if it is missing, and reads the state that is to be continued; None if there is none.

        Files and state may disagree after a power cut: examples that no gap lists are deleted, and listed ones without
        a file are forgotten.

        Args:
            dimension: Dimension D of the embeddings.

        Raises:
            RecordingError: The record cannot be continued: put it aside.
            OSError: The place cannot be written to.
        """
        self._measure()
        gaps = self.read()
        if gaps is None:
            if self._sizes:
                raise RecordingError("images without a record", where=self.folder / IMAGES, expected=STATE)
            return None
        if gaps.dimension not in (None, dimension):
            raise RecordingError(
                "record of another navigator", where=self.folder / STATE, got=f"dimension {gaps.dimension}",
                expected=dimension,
            )  # fmt: skip
        listed = {stamp_ns for gap in gaps.gaps for stamp_ns in gap.examples}
        self.drop(self._sizes.keys() - listed)
        for stamp_ns in listed - self._sizes.keys():
            gaps.forget(stamp_ns)
        return gaps

    def read(self) -> Gaps | None:
        """Reads the state; None if there is none.

        Raises:
            RecordingError: The file is damaged.
        """
        file = self.folder / STATE
        try:
            if not file.is_file():
                return None
            if file.stat().st_size > MAX_STATE_BYTES:
                raise ValueError(f"{file.stat().st_size} bytes")
            return Gaps.from_json(json.loads(file.read_bytes()))
        except (OSError, AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            hint = "The images beside it can still be used."
            raise RecordingError("unreadable record of gaps", where=file, got=repr(error), hint=hint) from error

    def write(self, gaps: Gaps) -> None:
        """Writes the state.

        Raises:
            ImageError: The disk is full, or the folder cannot be written.
        """
        write_whole(self.folder / STATE, json.dumps(gaps.as_json()).encode())

    def put_aside(self) -> Path:
        """Moves state and images to a new folder ``previous_<number>``, which is returned: a new record can begin."""
        paths = (self.folder / f"previous_{number}" for number in count(1))
        aside = next(path for path in paths if not path.exists())
        aside.mkdir()
        for name in (STATE, IMAGES):
            if (self.folder / name).exists():
                (self.folder / name).replace(aside / name)
        self._measure()
        return aside

    def keep(self, stamp_ns: int, rgb: NDArray[np.uint8]) -> None:
        """Writes an example, (H, W, 3) uint8 RGB.

        Raises:
            ImageError: The disk is full, or the folder cannot be written.
        """
        data = encoded(rgb, SUFFIX)
        write_whole(self.image(stamp_ns), data)
        self._sizes[stamp_ns] = len(data)

    def drop(self, stamps: Iterable[int]) -> None:
        """Deletes examples.

        Raises:
            OSError: The folder cannot be written.
        """
        for stamp_ns in stamps:
            self.image(stamp_ns).unlink(missing_ok=True)
            self._sizes.pop(stamp_ns, None)

    def _measure(self) -> None:
        """Creates the folder if it is missing, and measures the examples in it."""
        (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)
        files = [file for file in (self.folder / IMAGES).glob(f"*{SUFFIX}") if file.stem.lstrip("-").isdecimal()]
        self._sizes = {int(file.stem): file.stat().st_size for file in files}
