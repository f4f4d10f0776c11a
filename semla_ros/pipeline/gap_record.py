"""The record of a library's gaps on disk: ``gaps.json``, and ``images/<stamp>.jpg`` for each example."""

from __future__ import annotations

import json
from collections.abc import Iterable
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

    def create(self) -> None:
        """Creates the folder if it is missing, and measures the examples in it.

        Raises:
            OSError: The place cannot be written to.
        """
        (self.folder / IMAGES).mkdir(parents=True, exist_ok=True)
        files = [file for file in (self.folder / IMAGES).glob(f"*{SUFFIX}") if file.stem.lstrip("-").isdecimal()]
        self._sizes = {int(file.stem): file.stat().st_size for file in files}

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
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            hint = "Remove it to begin a new record; the images stay."
            raise RecordingError("unreadable record of gaps", where=file, got=repr(error), hint=hint) from error

    def write(self, gaps: Gaps) -> None:
        """Writes the state.

        Raises:
            ImageError: The disk is full, or the folder cannot be written.
        """
        write_whole(self.folder / STATE, json.dumps(gaps.as_json()).encode())

    def put_aside(self) -> None:
        """Renames a damaged state, so that a new one can be written."""
        (self.folder / STATE).replace(self.folder / f"{STATE}.damaged")

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
            self._sizes.pop(stamp_ns, None)
            self.image(stamp_ns).unlink(missing_ok=True)
