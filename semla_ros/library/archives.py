"""Unpacks zip files from untrusted sources into one folder."""

from __future__ import annotations

import shutil
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from semla_ros.errors import ArchiveError

MAX_FILES = 10_000
MAX_RATIO = 20  # unpacked to packed size; LoRA weights are nearly incompressible
SMALL = 64 * 2**20  # bytes; below this size the ratio does not matter
DAMAGE = BadZipFile, EOFError, LookupError, RuntimeError, ValueError, struct.error, zlib.error  # raised by zipfile


def unpack(archive: Path, folder: Path) -> Path:
    """Unpacks a zip file.

    Args:
        archive: The zip file.
        folder: Folder for its files, which must not exist. After an error it does not exist either.

    Returns:
        ``folder``.

    Raises:
        ArchiveError: The zip is damaged, encrypted, too large or of an unsupported compression method, or contains a
            link or a path that leads out of the folder.
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True)
    try:
        with _opened(archive) as packed:
            for member, path in _checked(archive, packed.infolist()):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(member) as source, target.open("xb") as out:
                    shutil.copyfileobj(source, out)  # zipfile ends at the announced size and compares the checksum
    except DAMAGE as error:
        shutil.rmtree(folder)
        raise ArchiveError("damaged archive", where=archive, hint=f"{error}. Download it again.") from error
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _opened(archive: Path) -> ZipFile:
    try:
        return ZipFile(archive)
    except OSError as error:
        raise ArchiveError("unreadable archive", where=archive, hint=error.strerror) from error


def _checked(archive: Path, members: list[ZipInfo]) -> Iterator[tuple[ZipInfo, PurePosixPath]]:
    """Yields the files of an archive with their relative paths, after all members have been checked."""
    total, packed = sum(member.file_size for member in members), archive.stat().st_size
    if len(members) > MAX_FILES:
        raise ArchiveError("too many files in archive", where=archive, got=len(members), expected=f"up to {MAX_FILES}")
    if total > max(SMALL, MAX_RATIO * packed):
        raise ArchiveError(
            "archive is suspiciously large when unpacked", where=archive, got=f"{total} bytes of {packed}",
            expected=f"at most {MAX_RATIO} times its size", hint="If you trust it, unpack it yourself.",
        )  # fmt: skip
    files = [(member, _path(archive, member)) for member in members if not member.filename.endswith("/")]
    yield from ((member, path) for member, path in files if path.parts)


def _path(archive: Path, member: ZipInfo) -> PurePosixPath:
    """Relative path of a member, empty for entries such as "./"."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if linked or path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts):
        raise ArchiveError(
            "archive reaches out of its folder", where=archive, got=member.filename, expected="plain files inside"
        )
    if member.flag_bits & 1:
        raise ArchiveError("encrypted archive", where=archive, got=member.filename, hint="Unpack it yourself.")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ArchiveError(
            "unsupported compression", where=archive, got=f"method {member.compress_type} of {member.filename}",
            expected="stored or deflated", hint="Unpack it yourself.",
        )  # fmt: skip
    return path
