"""Files from untrusted sources: only regular files of a limited size are opened."""

from __future__ import annotations

import stat
from pathlib import Path


def check_file(path: Path, max_bytes: int) -> None:
    """Refuses what could block the reader or fill its memory: pipes, devices, folders and files that are too large.

    Raises:
        OSError: The file is missing, no regular file or larger than ``max_bytes``.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    if status.st_size > max_bytes:
        raise OSError(f"it has {status.st_size} bytes, at most {max_bytes} are read")


def read_file(path: Path, max_bytes: int) -> bytes:
    """Reads a whole file.

    Raises:
        OSError: See `check_file`.
    """
    check_file(path, max_bytes)
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"it grew beyond {max_bytes} bytes")
    return content
