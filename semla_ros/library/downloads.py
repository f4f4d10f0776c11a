"""Downloads that resume, are checked, and appear under their names only when they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from semla_ros.errors import FetchError
from semla_ros.library.catalogue import Download

CACHE = "SEMLA_CACHE"  # environment variable that moves the cache
TIMEOUT_S = 10.0
CHUNK = 2**20
Progress = Callable[[int, "int | None"], object]


def cache_folder() -> Path:
    """Where downloads go: ``$SEMLA_CACHE``, or semla_ros in ``$XDG_CACHE_HOME``, or in ~/.cache."""
    own = os.environ.get(CACHE)
    return (
        Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "semla_ros")
    )


def bundles_folder() -> Path:
    """Returns the folder of bundles that were made of downloads."""
    return cache_folder() / "bundles"


def place_of(download: Download, cache: Path) -> Path:
    """The file a download becomes."""
    return cache / download.name / download.file


def fetch(download: Download, cache: Path, on_progress: Progress = lambda done, total: None) -> Path:
    """Brings a file, or finds it there; goes on where a broken download ended.

    Args:
        download: What to bring.
        cache: The folder that `cache_folder` names, or another.
        on_progress: Called with bytes done, those of an earlier attempt included, and their number if known.

    Returns:
        The file, beside it its checksum in the format of ``sha256sum``.

    Raises:
        FetchError: The source cannot be reached, refuses, breaks off or gives something else; what was received is
            kept for the next attempt. Or the checksum is wrong; then nothing is kept.
    """
    file = place_of(download, cache)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(file.name + ".part")
        _receive(download, file, part, on_progress)
        _publish(download, part, file)
    else:
        _check(download, file)
    return file


def sha256(path: Path) -> str:
    """A file's SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _receive(download: Download, file: Path, part: Path, on_progress: Progress) -> None:
    tag = part.with_name(part.name + ".etag")
    try:
        with _open(download, part, tag) as response:
            _refuse_pages(download, response)
            begin = part.stat().st_size if response.status == 206 else 0
            length = response.headers.get("Content-Length")
            total = begin + int(length) if length else None
            tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
            _copy(response, part, begin, total, on_progress)
    except HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
            return  # it had come to its end before
        raise FetchError(
            "refused", where=download.url, got=f"{error.code} {error.reason}", hint=_by_hand(download, file)
        ) from error
    except URLError as error:
        raise FetchError(
            "cannot be reached", where=download.url, got=error.reason, hint=_by_hand(download, file)
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise FetchError(
            "broke off", where=download.url, got=type(error).__name__, hint="Run it again to resume."
        ) from error
    if total is not None and part.stat().st_size != total:
        got = f"{part.stat().st_size} of {total} bytes"
        raise FetchError("broke off", where=download.url, got=got, hint="Run it again to resume.")
    tag.unlink()


def _open(download: Download, part: Path, tag: Path) -> HTTPResponse:
    """Asks for the rest of the file, if what is there belongs to what is published now, and for all of it otherwise."""
    headers = {"User-Agent": "semla_ros"}
    known = tag.read_text() if tag.exists() else ""
    if part.exists() and part.stat().st_size and known:
        headers |= {"Range": f"bytes={part.stat().st_size}-", "If-Range": known}
    response: HTTPResponse = urlopen(Request(download.url, headers=headers), timeout=TIMEOUT_S)
    return response


def _copy(response: HTTPResponse, part: Path, begin: int, total: int | None, on_progress: Progress) -> None:
    done = begin
    with part.open("ab" if begin else "wb") as stream:
        on_progress(done, total)
        while chunk := response.read(CHUNK):
            stream.write(chunk)
            done += len(chunk)
            on_progress(done, total)


def _refuse_pages(download: Download, response: HTTPResponse) -> None:
    kind = response.headers.get_content_type()
    if kind == "text/html":
        raise FetchError("not a file", where=download.url, got=kind, expected="weights", hint=f"See {download.source}.")


def _publish(download: Download, part: Path, file: Path) -> None:
    """Gives a whole download its name and writes its checksum beside it."""
    found = sha256(part)
    if download.sha256 and found != download.sha256:
        part.unlink()
        raise FetchError(
            "wrong checksum", where=download.url, got=found, expected=download.sha256, hint="Nothing was kept."
        )
    _record(file, found)
    part.rename(file)


def _check(download: Download, file: Path) -> None:
    """Compares a file with its checksum; one that was put there by hand gets its checksum now."""
    if not file.is_file():
        raise FetchError("not a file", where=file, hint="Remove it and fetch it again.")
    found, expected = sha256(file), download.sha256 or _recorded(file)
    if not expected:
        _record(file, found)
    elif found != expected:
        raise FetchError(
            "wrong checksum", where=file, got=found, expected=expected, hint="Remove it and fetch it again."
        )


def _record(file: Path, checksum: str) -> None:
    file.with_name(file.name + ".sha256").write_text(f"{checksum}  {file.name}\n")


def _recorded(file: Path) -> str | None:
    record = file.with_name(file.name + ".sha256")
    return record.read_text().split()[0] if record.exists() else None


def _by_hand(download: Download, file: Path) -> str:
    return f"By hand: on a machine with network open {download.url} (published at {download.source}), save it as {file}"
