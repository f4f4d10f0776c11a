"""Folders of images, and single images."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from semla_ros.errors import ImageError, RecordingError
from semla_ros.images.conversion import decode_file
from semla_ros.images.frame import Frame
from semla_ros.recordings.recording import Readings, Recording

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
FRAME_ID = "camera"
TIMES = re.compile(r"[0-2]?\d{16,18}")  # nanoseconds, up to 2038 or so; a shorter number is a running one


class Images(Recording):
    """Image files in natural order of their names: 2.png before 10.png.

    Stamps are the file names where every one is a time in nanoseconds (1403636579763555584.png);
    otherwise they count from 0 at the frame rate.
    """

    kind = "images"

    def __init__(self, path: Path, fps: float | None = None) -> None:
        """Looks into the folder.

        Args:
            path: A image, or a folder of images.
            fps: Images per second; None takes 10 where the names are no times.

        Raises:
            RecordingError: The folder holds no images, or the frame rate is not above 0.
        """
        if fps is not None and not 0 < fps < math.inf:
            raise RecordingError("wrong frame rate", got=fps, expected="above 0")
        found = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
        self._files = sorted(found, key=_natural)
        self._fps = fps
        if not self._files:
            raise RecordingError(
                "folder holds neither a bag nor images", where=path, expected=" ".join(sorted(SUFFIXES))
            )
        super().__init__(path, frame_count=len(self._files))

    def _images(self) -> Readings[Frame]:
        for file, stamp in zip(self._files, _stamps(self._files, self._fps), strict=True):
            yield partial(_frame, file, stamp)


def _natural(file: Path) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name.lower())]


def _stamps(files: Sequence[Path], fps: float | None) -> list[int]:
    if fps is None and all(TIMES.fullmatch(file.stem) for file in files):
        return [int(file.stem) for file in files]
    return [round(index * 1_000_000_000 / (fps or 10.0)) for index in range(len(files))]


def _frame(file: Path, stamp_ns: int) -> Frame:
    try:
        return Frame(decode_file(file.read_bytes()), stamp_ns, FRAME_ID)
    except (OSError, ImageError) as error:
        raise RecordingError(f"{file.name}: {error}") from error
