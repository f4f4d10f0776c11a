"""Zip files from elsewhere, unpacked into one folder and nowhere else."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from semla_ros.errors import ArchiveError


def unpack(archive: Path, folder: Path) -> Path:
    """Unpacks a zip.

    Args:
        archive: The zip file.
        folder: Where its files go; made if it is missing.

    Returns:
        ``folder``.

    Raises:
        ArchiveError: The zip is damaged, or holds a link or a path that leads out of the folder; nothing is written.
    """
    try:
        with ZipFile(archive) as packed:
            for member in packed.infolist():
                _check(archive, member)
            damaged = packed.testzip()
            if damaged is not None:
                raise ArchiveError("damaged archive", where=archive, got=damaged, hint="Download it again.")
            packed.extractall(folder)
    except (BadZipFile, OSError) as error:
        raise ArchiveError("unreadable archive", where=archive, hint=f"{error}. Download it again.") from error
    return folder


def _check(archive: Path, member: ZipInfo) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if linked or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise ArchiveError(
            "archive reaches out of its folder", where=archive, got=member.filename, expected="plain files inside"
        )
