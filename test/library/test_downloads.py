from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import BODY, SHA256, Server, serving

from semla_ros.cli import main
from semla_ros.errors import FetchError
from semla_ros.library.catalogue import CATALOGUE, RECIPES, Download
from semla_ros.library.downloads import cache_folder, fetch, place_of, sha256
from semla_ros.modeling.base import NAVIGATORS, SEGMENTERS


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


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


def test_a_complete_download_is_not_repeated(download: Download, server: Server, tmp_path: Path) -> None:
    fetch(download, tmp_path)
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert len(server.ranges) == 1


def test_an_interrupted_download_is_resumed(download: Download, server: Server, tmp_path: Path) -> None:
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


def test_a_download_starts_again_if_the_server_cannot_resume(
    download: Download, server: Server, tmp_path: Path
) -> None:
    server.cut_at, server.resumes = 3_000_000, False
    with pytest.raises(FetchError):
        fetch(download, tmp_path)
    server.cut_at = None
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert server.sent == 3_000_000 + len(BODY)


def test_a_file_that_changed_on_the_server_is_not_appended(download: Download, server: Server, tmp_path: Path) -> None:
    server.cut_at = 3_000_000
    with pytest.raises(FetchError):
        fetch(download, tmp_path)
    server.body, server.etag, server.cut_at = BODY[::-1], '"two"', None
    assert fetch(download, tmp_path).read_bytes() == BODY[::-1]


def test_a_download_that_was_complete_but_not_renamed_is_not_repeated(
    download: Download, server: Server, tmp_path: Path
) -> None:
    part = tmp_path / "model/model.pth.part"
    part.parent.mkdir()
    part.write_bytes(BODY)
    part.with_name("model.pth.part.etag").write_text(server.etag)
    assert fetch(download, tmp_path).read_bytes() == BODY
    assert server.sent == 0


def test_a_wrong_checksum_is_refused_with_both_and_how_to_accept_it(
    download: Download, server: Server, tmp_path: Path
) -> None:
    published = replace(download, sha256="0" * 64)
    message = f"wrong checksum.*got {SHA256}, expected {'0' * 64}.*--accept-checksum model={SHA256}"
    for _ in range(2):
        with pytest.raises(FetchError, match=message):
            fetch(published, tmp_path)
    assert left(tmp_path) == {"model.pth.part", "model.pth.part.etag"}
    assert server.sent == len(BODY)


def test_an_accepted_checksum_is_recorded_and_nothing_is_downloaded_again(
    download: Download, server: Server, tmp_path: Path
) -> None:
    published = replace(download, sha256="0" * 64)
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch(published, tmp_path)
    assert fetch(published, tmp_path, accepted=SHA256).read_bytes() == BODY
    assert fetch(published, tmp_path).read_bytes() == BODY
    assert left(tmp_path) == {"model.pth", "model.pth.sha256"}
    assert len(server.ranges) == 1


def test_an_accepted_checksum_must_match(download: Download, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=f"wrong checksum.*got {SHA256}, expected {'1' * 64}"):
        fetch(download, tmp_path, accepted="1" * 64)


def test_a_published_checksum_is_compared_with_a_file_put_there_by_hand(download: Download, tmp_path: Path) -> None:
    file = place_of(download, tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"by hand")
    published = replace(download, sha256=SHA256)
    with pytest.raises(FetchError, match=f"wrong checksum.*expected {SHA256}"):
        fetch(published, tmp_path)
    found = sha256(file)
    assert fetch(published, tmp_path, accepted=found) == fetch(published, tmp_path) == file


def test_a_file_that_changed_on_disk_is_refused_and_kept(download: Download, tmp_path: Path) -> None:
    file = fetch(download, tmp_path)
    file.write_bytes(b"other")
    with pytest.raises(FetchError, match=f"wrong checksum.*expected {SHA256}"):
        fetch(download, tmp_path)
    assert file.read_bytes() == b"other"


def test_a_file_put_there_by_hand_is_not_downloaded(download: Download, server: Server, tmp_path: Path) -> None:
    file = place_of(download, tmp_path)
    file.parent.mkdir()
    file.write_bytes(BODY)
    assert fetch(download, tmp_path) == file
    assert server.ranges == []


def test_a_web_page_is_refused(download: Download, server: Server, tmp_path: Path) -> None:
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match=r"web page instead of a file.*text/html"):
        fetch(download, tmp_path)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_names_the_status_and_the_way_without_a_network(
    download: Download, server: Server, tmp_path: Path, status: int
) -> None:
    server.status = status
    with pytest.raises(
        FetchError, match=f"download refused.*got {status}.*Without a network.*{server.url}.*model/model.pth"
    ):
        fetch(download, tmp_path)


def test_an_unreachable_server_is_reported_with_the_way_without_a_network(download: Download, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = replace(download, url=f"http://127.0.0.1:{unused.getsockname()[1]}/model.pth")
        with pytest.raises(
            FetchError, match=f"cannot be reached.*Without a network.*{closed.url}.*{tmp_path}/model/model.pth"
        ):
            fetch(closed, tmp_path)


def test_environment_variables_move_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEMLA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/semla_ros"
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("SEMLA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/semla_ros"


def test_the_command_lists_all_downloads(
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
        assert ("present" if each is CATALOGUE[0] else each.size) in row


def test_the_command_downloads_a_file_by_its_name(
    monkeypatch: pytest.MonkeyPatch, download: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    monkeypatch.setattr("semla_ros.library.catalogue.CATALOGUE", (download,))
    assert main(["models", "fetch", "model"]) == 0
    assert str(tmp_path / "model/model.pth") in capsys.readouterr().out
    assert main(["models", "fetch", "atlantis"]) == 1
    assert "got atlantis, expected model" in capsys.readouterr().err


def test_the_command_accepts_a_checksum(
    monkeypatch: pytest.MonkeyPatch, download: Download, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    monkeypatch.setattr("semla_ros.library.catalogue.CATALOGUE", (replace(download, sha256="0" * 64),))
    assert main(["models", "fetch", "model"]) == 1
    option = capsys.readouterr().err.split()[-2:]
    assert option == ["--accept-checksum", f"model={SHA256}"]
    assert main(["models", "fetch", "model", *option]) == 0
    assert main(["models", "fetch", *option]) == 1
    assert "checksum without a file" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["model", "model=12", f"model={'g' * 64}"])
def test_a_malformed_checksum_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["models", "fetch", "model", "--accept-checksum", text])
    assert "expected NAME=SHA256 with 64 hexadecimal digits" in capsys.readouterr().err


def test_the_checksum_of_a_file_put_there_by_hand_is_recorded(download: Download, tmp_path: Path) -> None:
    file = place_of(download, tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"by hand")
    assert fetch(download, tmp_path) == file
    file.write_bytes(b"damaged")
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch(download, tmp_path)


def test_a_folder_in_place_of_a_download_is_refused(download: Download, tmp_path: Path) -> None:
    place_of(download, tmp_path).mkdir(parents=True)
    with pytest.raises(FetchError, match="not a file"):
        fetch(download, tmp_path)


def test_all_downloads_have_unique_names_and_use_https() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)
    assert all(each.url.startswith("https://") and each.source.startswith("https://") for each in CATALOGUE)
    assert all(each.file.endswith((".pth", ".zip", ".safetensors")) for each in CATALOGUE)


def test_the_published_checksums_are_checksums() -> None:
    assert all(each.sha256 is None or re.fullmatch("[0-9a-f]{64}", each.sha256) for each in CATALOGUE)


def test_recipes_name_downloads_and_kinds_that_exist() -> None:
    names = {each.name for each in CATALOGUE}
    for recipe in RECIPES.values():
        assert {recipe.segmenter, recipe.library, recipe.navigator} <= names
        assert recipe.segmenter_kind in SEGMENTERS
        assert recipe.navigator_kind in NAVIGATORS
