"""Downloads from a real HTTP server on the loopback that does what servers do, and what they should not."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from semla_ros.cli import main
from semla_ros.errors import FetchError
from semla_ros.library.catalogue import CATALOGUE, Download
from semla_ros.library.downloads import cache_folder, fetch, place_of

BODY = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """What it serves, how, and what it was asked."""

    body: bytes = BODY
    etag: str = '"one"'
    kind: str = "application/octet-stream"
    status: int = 200
    resumes: bool = True
    cut_at: int | None = None
    ranges: list[str | None] = field(default_factory=list)
    sent: int = 0
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        begin = 0
        if asked and self.resumes and request.headers.get("If-Range") == self.etag:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
        if begin and begin >= len(self.body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(self.body)}")
            request.end_headers()
            return
        request.send_response(206 if begin else self.status)
        request.send_header("Content-Type", self.kind)
        request.send_header("Content-Length", str(len(self.body) - begin))
        request.send_header("ETag", self.etag)
        request.end_headers()
        rest = self.body[begin : self.cut_at]
        self.sent += len(rest)
        request.wfile.write(rest)


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{http.server_port}/weights/model.pth"
    Thread(target=http.serve_forever, daemon=True).start()
    yield told
    http.shutdown()
    http.server_close()


@pytest.fixture
def download(server: Server) -> Download:
    return Download("model", "a model", server.url, "5 MB", "MIT", "http://127.0.0.1/about")


def left(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*") if path.is_file()}


def test_a_file_arrives_whole_under_its_name_with_its_checksum(download: Download, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    file = fetch(download, tmp_path, lambda done, total: steps.append((done, total)))
    assert file == place_of(download, tmp_path) == tmp_path / "model/model.pth"
    assert file.read_bytes() == BODY
    assert (tmp_path / "model/model.pth.sha256").read_text() == f"{SHA256}  model.pth\n"
    assert left(tmp_path) == {"model.pth", "model.pth.sha256"}
    assert steps[0] == (0, len(BODY))
    assert steps[-1] == (len(BODY), len(BODY))


def test_what_is_there_is_not_fetched_again(download: Download, server: Server, tmp_path: Path) -> None:
    fetch(download, tmp_path)
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert len(server.ranges) == 1


def test_a_broken_download_goes_on_where_it_ended(download: Download, server: Server, tmp_path: Path) -> None:
    server.cut_at = 3_000_000
    with pytest.raises(FetchError, match=r"3000000 of 5120000 bytes.*resume"):
        fetch(download, tmp_path)
    assert left(tmp_path) == {"model.pth.part", "model.pth.part.etag"}
    server.cut_at = None
    steps: list[int] = []
    assert fetch(download, tmp_path, lambda done, total: steps.append(done)).read_bytes() == BODY
    assert server.ranges == [None, "bytes=3000000-"]
    assert server.sent == len(BODY)
    assert steps[0] == 3_000_000


def test_a_server_that_cannot_resume_starts_over(download: Download, server: Server, tmp_path: Path) -> None:
    server.cut_at, server.resumes = 3_000_000, False
    with pytest.raises(FetchError):
        fetch(download, tmp_path)
    server.cut_at = None
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert server.sent == 3_000_000 + len(BODY)


def test_another_file_published_meanwhile_is_not_appended(download: Download, server: Server, tmp_path: Path) -> None:
    server.cut_at = 3_000_000
    with pytest.raises(FetchError):
        fetch(download, tmp_path)
    server.body, server.etag, server.cut_at = BODY[::-1], '"two"', None
    assert fetch(download, tmp_path).read_bytes() == BODY[::-1]


def test_a_download_that_ended_but_got_no_name_is_not_fetched_again(
    download: Download, server: Server, tmp_path: Path
) -> None:
    part = tmp_path / "model/model.pth.part"
    part.parent.mkdir()
    part.write_bytes(BODY)
    part.with_name("model.pth.part.etag").write_text(server.etag)
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert server.sent == 0


def test_a_known_checksum_that_differs_is_refused_naming_both_and_nothing_is_kept(
    download: Download, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=f"wrong checksum.*got {SHA256}, expected {'0' * 64}"):
        fetch(replace(download, sha256="0" * 64), tmp_path)
    assert left(tmp_path) == set()


def test_a_file_that_changed_on_disk_is_told_and_kept(download: Download, tmp_path: Path) -> None:
    file = fetch(download, tmp_path)
    file.write_bytes(b"other")
    with pytest.raises(FetchError, match=f"wrong checksum.*expected {SHA256}"):
        fetch(download, tmp_path)
    assert file.read_bytes() == b"other"


def test_a_file_put_there_by_hand_is_taken(download: Download, server: Server, tmp_path: Path) -> None:
    file = place_of(download, tmp_path)
    file.parent.mkdir()
    file.write_bytes(BODY)
    assert fetch(download, tmp_path) == file
    assert server.ranges == []


def test_a_page_where_weights_should_be_is_refused(download: Download, server: Server, tmp_path: Path) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match=r"not a file.*text/html"):
        fetch(download, tmp_path)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_names_its_status_and_the_way_by_hand(
    download: Download, server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    with pytest.raises(FetchError, match=f"refused.*got {status}.*By hand.*{server.url}.*model/model.pth"):
        fetch(download, tmp_path)


def test_offline_it_says_at_once_how_to_do_it_by_hand(download: Download, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = replace(download, url=f"http://127.0.0.1:{unused.getsockname()[1]}/model.pth")
        with pytest.raises(FetchError, match=f"cannot be reached.*By hand.*{closed.url}.*{tmp_path}/model/model.pth"):
            fetch(closed, tmp_path)


def test_the_cache_moves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEMLA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/semla_ros"
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("SEMLA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/semla_ros"


def test_the_command_lists_what_can_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    there = place_of(CATALOGUE[0], tmp_path)
    there.parent.mkdir()
    there.touch()
    assert main(["models", "fetch"]) == 0
    rows = capsys.readouterr().out.splitlines()
    for each in CATALOGUE:
        (row,) = (row for row in rows if f" {each.name} " in row)
        assert each.licence in row
        assert ("there" if each is CATALOGUE[0] else each.size) in row


def test_the_command_brings_what_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, download: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    monkeypatch.setattr("semla_ros.library.catalogue.CATALOGUE", (download,))
    assert main(["models", "fetch", "model"]) == 0
    assert str(tmp_path / "model/model.pth") in capsys.readouterr().out
    assert main(["models", "fetch", "atlantis"]) == 1
    assert "atlantis" in capsys.readouterr().err


def test_what_makes_a_bundle_ends_with_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch, download: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("catseg-large", "semla-loradb")
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    monkeypatch.setattr("semla_ros.library.catalogue.CATALOGUE", tuple(replace(download, name=name) for name in names))
    assert main(["models", "fetch", *names]) == 0
    command = capsys.readouterr().out.splitlines()[-1]
    assert command.startswith("next: semla models import")
    assert f"--segmenter {tmp_path}/catseg-large/model.pth --library {tmp_path}/semla-loradb/model.pth" in command
    assert "--navigator openai" in command


def test_a_file_put_there_by_hand_is_checked_ever_after(download: Download, tmp_path: Path) -> None:
    file = place_of(download, tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"by hand")
    assert fetch(download, tmp_path) == file
    file.write_bytes(b"damaged")
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch(download, tmp_path)


def test_a_folder_is_no_download(download: Download, tmp_path: Path) -> None:
    place_of(download, tmp_path).mkdir(parents=True)
    with pytest.raises(FetchError, match="not a file"):
        fetch(download, tmp_path)


def test_every_download_has_a_name_of_its_own_and_comes_over_an_encrypted_line() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)
    assert all(each.url.startswith("https://") and each.source.startswith("https://") for each in CATALOGUE)
    assert all(each.file.endswith((".pth", ".zip", ".safetensors")) for each in CATALOGUE)
