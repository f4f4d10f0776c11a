"""Downloads files: resumes, compares checksums, and gives a file its name when it is complete.

Plain HTTP: a mirror or a local server works too. huggingface_hub would compare sizes, but no SHA-256 checksums.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from semla_ros.errors import FetchError
from semla_ros.library.catalogue import Download
from semla_ros.library.checksum import CHUNK, sha256

CACHE = "SEMLA_CACHE"  # environment variable that moves the cache
TIMEOUT_S = 10.0
Progress = Callable[[int, "int | None"], object]


def cache_folder() -> Path:
    """Returns the folder of downloads: ``$SEMLA_CACHE``, else semla_ros in ``$XDG_CACHE_HOME`` or ~/.cache."""
    own = os.environ.get(CACHE)
    return (
        Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "semla_ros")
    )


def bundles_folder() -> Path:
    """Returns the folder of bundles that were made of downloads."""
    return cache_folder() / "bundles"


def place_of(download: Download, cache: Path) -> Path:
    """Returns the path of a complete download."""
    return cache / download.name / download.file


def fetch(
    download: Download, cache: Path, on_progress: Progress = lambda done, total: None, accepted: str | None = None
) -> Path:
    """Downloads a file, or checks the one that is there. An interrupted download is resumed.

    Args:
        download: The file.
        cache: Folder of downloads, see `cache_folder`.
        on_progress: Called with the number of bytes received (earlier attempts included) and the total, if known.
        accepted: SHA-256 checksum that is right, whatever the catalogue says. It is recorded beside the file.

    Returns:
        The file. Its checksum is stored beside it, in the format of ``sha256sum``.

    Raises:
        FetchError: The server is unreachable, refuses, breaks off or sends a web page; or the checksum is not the one
            accepted, recorded or published, in this order. What was received is kept in any case.
    """
    file = place_of(download, cache)
    if file.exists():
        _check(download, file, file, accepted)
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    if not (accepted and part.exists() and sha256(part) == accepted):
        _receive(download, file, part, on_progress)
    _check(download, file, part, accepted)
    part.rename(file)
    _tag_of(part).unlink(missing_ok=True)
    return file


def _receive(download: Download, file: Path, part: Path, on_progress: Progress) -> None:
    tag = _tag_of(part)
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
            return  # an earlier attempt received all of it
        raise FetchError(
            "download refused", where=download.url, got=f"{error.code} {error.reason}", hint=_by_hand(download, file)
        ) from error
    except URLError as error:
        raise FetchError(
            "server cannot be reached", where=download.url, got=error.reason, hint=_by_hand(download, file)
        ) from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise FetchError(
            "download broke off", where=download.url, got=type(error).__name__, hint="Run the command again to resume."
        ) from error
    if total is not None and part.stat().st_size != total:
        got = f"{part.stat().st_size} of {total} bytes"
        raise FetchError("download broke off", where=download.url, got=got, hint="Run the command again to resume.")


def _open(download: Download, part: Path, tag: Path) -> HTTPResponse:
    """Requests the rest of the file if the published one is still the same (its ETag), otherwise the whole file."""
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
        raise FetchError("web page instead of a file", where=download.url, got=kind, hint=f"See {download.source}.")


def _check(download: Download, file: Path, present: Path, accepted: str | None) -> None:
    """Compares the checksum of a file and records it beside the file's final name."""
    if not present.is_file():
        raise FetchError("not a file", where=present, hint="Remove it and download it again.")
    record = file.with_name(file.name + ".sha256")
    recorded = record.read_text().split() if record.exists() else []
    found, expected = sha256(present), accepted or (recorded[0] if recorded else download.sha256)
    if expected and found != expected:
        raise FetchError(
            "wrong checksum", where=present, got=found, expected=expected,
            hint=f"Remove it to download it again. Or, if you trust it: --accept-checksum {download.name}={found}",
        )  # fmt: skip
    record.write_text(f"{found}  {file.name}\n")


def _tag_of(part: Path) -> Path:
    """Returns the file with the ETag of an incomplete download."""
    return part.with_name(part.name + ".etag")


def _by_hand(download: Download, file: Path) -> str:
    return f"Without a network: get {download.url} (published at {download.source}) elsewhere and save it as {file}"
