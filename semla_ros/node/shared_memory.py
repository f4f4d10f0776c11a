"""Shared memory that Fast DDS leaves behind when a process is killed.

Each process keeps a file ``fastdds_<16 digits>`` in /dev/shm, 0.5 MB or, with this package's profile, 64 MB, and locks
``fastdds_<16 digits>_el`` beside it for as long as it lives. Processes that have received from it remove both, if any
of them outlives it; no later process does. Robots whose processes are killed together would fill their memory in time.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

FOLDER = Path("/dev/shm")
LOCK = re.compile(r"(fast(?:dds|rtps)_[0-9a-f]{16})_el")
MIN_AGE_S = 60.0  # between the creation of a lock file and its locking, a process that starts holds no lock


def remove_left_segments(folder: Path = FOLDER) -> int:
    """Removes the shared memory of processes that are gone: of this user, with a lock that nobody holds.

    Args:
        folder: Folder of the files.

    Returns:
        Number of bytes that were freed.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return sum(_removed(folder / match[1], folder / name) for name in names if (match := LOCK.fullmatch(name)))


def remove_own_segments(folder: Path = FOLDER) -> None:
    """Removes the shared memory that this process has locked. Call it last: the process can send nothing afterwards.

    Other processes may still read what they have mapped.

    Args:
        folder: Folder of the files.
    """
    own = _locked_by_this_process()
    for lock in folder.iterdir() if folder.is_dir() else ():
        if match := LOCK.fullmatch(lock.name):
            with suppress(OSError):
                status = lock.stat()
                if (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino) in own:
                    (folder / match[1]).unlink(missing_ok=True)
                    lock.unlink()


def _locked_by_this_process() -> set[tuple[int, int, int]]:
    """Major and minor device number and inode of each file that this process has locked; empty outside Linux."""
    table = Path("/proc/locks")
    lines = [line.split() for line in table.read_text().splitlines()] if table.is_file() else []
    files = [line[5].split(":") for line in lines if line[1] == "FLOCK" and line[4] == str(os.getpid())]
    return {(int(major, 16), int(minor, 16), int(inode)) for major, minor, inode in files}


def _removed(segment: Path, lock: Path) -> int:
    """Removes one segment and its lock file, unless a process may still use them; returns the bytes freed."""
    try:
        opened = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0  # of another user, a link, or gone meanwhile
    try:
        status = os.fstat(opened)
        if status.st_uid != os.getuid() or time.time() - status.st_mtime < MIN_AGE_S:
            return 0
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if a process is alive
        size = _size(segment)
        segment.unlink(missing_ok=True)
        lock.unlink()
        return size
    except OSError:
        return 0
    finally:
        os.close(opened)


def _size(segment: Path) -> int:
    """Bytes of memory that a segment takes; 0 if it does not exist.

    Raises:
        OSError: It is no regular file.
    """
    if not os.path.lexists(segment):
        return 0
    status = segment.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a file of Fast DDS")
    return status.st_blocks * 512
