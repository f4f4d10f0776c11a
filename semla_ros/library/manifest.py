"""``SHA256SUMS``: the checksums of the files in a folder of a bundle or of an adapter.

The format is that of ``sha256sum``: ``sha256sum --check SHA256SUMS`` verifies a folder without this package. Each
adapter has a manifest of its own, because adapters are added and removed whole. Documents (.md, .png) are never loaded,
and not listed. A manifest finds files that were damaged or mixed up. It is no signature: whoever can change a file in
the folder can also write the manifest anew.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from semla_ros.errors import SemlaError
from semla_ros.library.checksum import sha256
from semla_ros.library.untrusted_file import read_file

MANIFEST = "SHA256SUMS"
DOCUMENTS = ".md", ".png"
MAX_BYTES = 2**20
LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")
HINT = (
    "Get it again; or accept what is there with: semla models verify --accept BUNDLE (outside a bundle, delete the "
    f"adapter's {MANIFEST})"
)


def check_listed(file: Path, error: type[SemlaError], content: bytes | None = None) -> None:
    """Compares a file with the manifest of its folder; without a manifest every file is accepted.

    Args:
        file: A regular file.
        error: Type of the errors.
        content: Content of the file, if it has been read already.

    Raises:
        SemlaError: The file is not listed or has another checksum, or the manifest is malformed.
        OSError: The file cannot be read.
    """
    listed = read_manifest(file.parent, error)
    if listed is None:
        return
    if file.name not in listed:
        raise error("file is not in the manifest", where=file, expected=f"a line in {MANIFEST}", hint=HINT)
    found = sha256(file) if content is None else hashlib.sha256(content).hexdigest()
    if found != listed[file.name]:
        expected = f"{listed[file.name]} as in {MANIFEST}"
        raise error(
            "file is not that of the manifest", where=file, got=f"SHA-256 {found}", expected=expected, hint=HINT
        )


def read_manifest(folder: Path, error: type[SemlaError]) -> dict[str, str] | None:
    """Reads the manifest of a folder: file name to SHA-256, hexadecimal. None if the folder has none.

    Raises:
        SemlaError: It is unreadable or malformed; of the type ``error``.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    try:
        lines = read_file(path, MAX_BYTES).decode().splitlines()
    except (OSError, ValueError) as cause:
        raise error("unreadable manifest", where=path, hint=str(cause)) from cause
    listed = {}
    for line in filter(None, lines):
        match = LINE.fullmatch(line)
        if not match:
            raise error("malformed manifest", where=path, got=repr(line), expected="a SHA-256 and the name of a file")
        listed[match[2]] = match[1]
    return listed


def fingerprint(folder: Path) -> str:
    """A short text that changes with the files of a folder; without a manifest, with their sizes and times of change.

    Raises:
        OSError: A file cannot be read.
    """
    manifest = folder / MANIFEST
    if manifest.is_file():
        return sha256(manifest)[:12]
    known = [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in _files(folder)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def write_manifest(folder: Path) -> None:
    """Lists the files of a folder, not those of its sub-folders, in its manifest, which is replaced whole.

    Raises:
        OSError: A file cannot be read, or the manifest not be written.
    """
    _write(folder, {file.name: sha256(file) for file in _files(folder)})


def relist(file: Path, error: type[SemlaError]) -> None:
    """Lists a file that was replaced on purpose with its new checksum, if its folder has a manifest.

    Raises:
        SemlaError: The manifest is malformed; of the type ``error``.
        OSError: The file cannot be read, or the manifest not be written.
    """
    listed = read_manifest(file.parent, error)
    if listed is not None:
        _write(file.parent, listed | {file.name: sha256(file)})


def differences(folder: Path) -> Iterator[str]:
    """Yields what differs between a folder and its manifest: ``changed``, ``missing`` or ``extra``, and the path.

    A folder without a manifest, or with one that cannot be read, differs in that.
    """
    try:
        listed = read_manifest(folder, SemlaError)
    except SemlaError as error:
        yield str(error)
        return
    if listed is None:
        yield f"no manifest: {folder}"
        return
    present = {file.name: file for file in _files(folder)}
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            yield f"missing: {folder / name}"
        elif name not in listed:
            yield f"extra: {folder / name}"
        elif sha256(present[name]) != listed[name]:
            yield f"changed: {folder / name}"


def _write(folder: Path, listed: Mapping[str, str]) -> None:
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text("".join(f"{listed[name]}  {name}\n" for name in sorted(listed)))
    partial.replace(folder / MANIFEST)


def _files(folder: Path) -> list[Path]:
    """The files that a manifest lists, sorted. Only regular files are opened: a pipe would block."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and not each.name.startswith("."))
    return [each for each in files if each.name != MANIFEST and each.suffix not in DOCUMENTS]
