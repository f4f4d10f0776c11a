"""Image files: one image, or a folder of images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from semla_ros.errors import ImageError, RecordingError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.conversion import decode_file
from semla_ros.images.files import IMAGE_SUFFIXES
from semla_ros.images.frame import SECOND_NS, Frame
from semla_ros.recordings.recording import Readings, Recording
from semla_ros.text import storable

FRAME_ID = "camera"
DEFAULT_FPS = 10.0
MIN_FPS, MAX_FPS = 0.001, 10_000.0
LATEST_NS = 2**31 * SECOND_NS - 1  # a header's seconds are a signed 32-bit number
TIMES = (  # names that are times, with the length of their unit in nanoseconds; other numbers are counters
    (re.compile(r"\d{17,19}"), 1),
    (re.compile(r"[1-9]\d{15}"), 1_000),
    (re.compile(r"[1-9]\d{9}(\.\d{1,9})?"), SECOND_NS),
)


class Images(Recording):
    """Image files in natural order of their names: 2.png before 10.png.

    If all names are times since 1970, and before 2038, they are the stamps: nanoseconds (1403636579763555584.png),
    microseconds (1403636579763555.png) or seconds (1403636579.763555.png, 1403636579.png). Otherwise stamps start at 0
    and follow the frame rate.
    """

    kind = "images"

    def __init__(self, path: Path, fps: float | None = None) -> None:
        """Lists the files.

        Args:
            path: An image, or a folder of images.
            fps: Images per second. It takes precedence over names that are times. By default 10 for other names.

        Raises:
            RecordingError: The folder holds no images, or the frame rate is out of range.
        """
        if fps is not None and not MIN_FPS <= fps <= MAX_FPS:
            expected = f"{MIN_FPS:g} to {MAX_FPS:g} images per second"
            raise RecordingError("frame rate out of range", got=fps, expected=expected)
        found = [path] if path.is_file() else image_files(path)
        if not found:
            raise RecordingError(
                "folder holds neither a bag nor images", where=path, expected=" ".join(sorted(IMAGE_SUFFIXES))
            )
        self._stamped = _stamped(sorted(found, key=_natural), fps)
        self._has_unique_stems = len({file.stem for file in found}) == len(found)
        super().__init__(path, frame_count=len(found))

    def frame_name(self, number: int) -> str:
        """See `Recording.frame_name`. Files that differ in their suffix alone are named by their numbers."""
        return storable(self._stamped[number][1].stem) if self._has_unique_stems else super().frame_name(number)

    def file_size(self, number: int) -> int:
        """See `Recording.file_size`."""
        file = self._stamped[number][1]
        return file.stat().st_size if file.exists() else 0

    def _images(self) -> Readings[Frame]:
        bit_depth = BitDepth()
        for stamp_ns, file in self._stamped:
            yield partial(_frame, file, stamp_ns, bit_depth)


def image_files(folder: Path) -> list[Path]:
    """Files with names of images. Folders and pipes, which would block, are left out; broken links are not."""
    with os.scandir(folder) as entries:
        return [
            Path(each.path)
            for each in entries
            if Path(each.name).suffix.lower() in IMAGE_SUFFIXES and (each.is_file() or not os.path.exists(each.path))
        ]


def _natural(file: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name.lower())]


def _stamped(files: Sequence[Path], fps: float | None) -> list[tuple[int, Path]]:
    """Pairs of stamp (ns) and file, in order."""
    times = _times(files) if fps is None else None
    if times is not None:
        return sorted(zip(times, files, strict=True))
    return [(round(index * SECOND_NS / (fps or DEFAULT_FPS)), file) for index, file in enumerate(files)]


def _times(files: Sequence[Path]) -> list[int] | None:
    """The times in the names, ns; None if the names are not times."""
    for pattern, unit_ns in TIMES:
        if all(pattern.fullmatch(file.stem) for file in files):
            times = [int(Decimal(file.stem) * unit_ns) for file in files]
            return times if max(times) <= LATEST_NS else None
    return None


def _frame(file: Path, stamp_ns: int, bit_depth: BitDepth) -> Frame:
    try:
        return Frame(decode_file(file.read_bytes(), bit_depth=bit_depth), stamp_ns, FRAME_ID)
    except (OSError, ImageError) as error:
        raise RecordingError(f"{file.name}: {error}") from error
