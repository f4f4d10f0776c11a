"""`semla models get`: downloads from a local server, import, and a bundle that runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import Server, serving
from official import CLIP_CONFIG, published_encoder, write_official_files
from tiny import ARCH, drive, random_adapter, random_network

from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.library.catalogue import CATALOGUE
from semla_ros.library.downloads import sha256
from semla_ros.pipeline.build import build_pipeline

GET = ("models", "get", "official")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Tiny models in the published formats, under the published file names."""
    folder, network = tmp_path / "published", random_network()
    adapters = [random_adapter(name, network, seed=seed) for seed, name in enumerate(("fog", "night"))]
    write_official_files(folder, network, published_encoder(), adapters)
    shutil.make_archive(str(folder / "loradb"), "zip", folder, "loradb")
    (folder / "model_final.pth").rename(folder / "model_large.pth")
    (folder / "clip.safetensors").rename(folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves the tiny models in place of the published ones."""
    monkeypatch.setattr("semla_ros.modeling.catseg.published.VIT_B16", ARCH)
    monkeypatch.setattr("semla_ros.modeling.clip.published._of_model", {"ViT-L-14-quickgelu": CLIP_CONFIG}.get)
    with serving() as server:
        server.files = {
            file.name: file.read_bytes()
            for file in published.iterdir()
            if file.suffix in (".pth", ".safetensors", ".zip")
        }
        address = server.url.rpartition("/")[0]
        local = [
            replace(each, url=f"{address}/{each.file}", sha256=sha256(published / each.file))
            for each in CATALOGUE
            if (published / each.file).exists()
        ]
        monkeypatch.setattr("semla_ros.library.catalogue.CATALOGUE", tuple(local))
        yield server


def test_one_command_makes_a_bundle_that_runs_by_its_name(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GET) == 0
    assert "ready for --bundle official" in capsys.readouterr().out
    pipeline = build_pipeline(changed(Config(), {"model.bundle": "official", "model.device": "cpu"}))
    assert pipeline.library.names == ("fog", "night")
    assert [pipeline.process(frame) for frame in drive(("red", 0.2))][-1].domain.swaps == 1


def test_a_second_call_downloads_nothing(cache: Path, server: Server) -> None:
    assert main(GET) == 0
    requests = len(server.ranges)
    assert main(GET) == 0
    assert len(server.ranges) == requests == 3


def test_an_interrupted_call_is_resumed(cache: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.cut_at = 10_000
    assert main(GET) == 1
    assert "Run the command again to resume" in capsys.readouterr().err
    assert not (cache / "bundles").exists()
    server.cut_at = None
    assert main(GET) == 0
    assert server.ranges[:2] == [None, "bytes=10000-"]
    assert server.sent == sum(map(len, server.files.values()))


def test_a_file_with_another_checksum_is_used_when_it_is_accepted(
    cache: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["loradb.zip"] += b"\0"
    assert main(GET) == 1
    option = capsys.readouterr().err.split()[-2:]
    assert option[0] == "--accept-checksum"
    assert main([*GET, *option]) == 0
    assert (cache / "bundles/official/bundle.yaml").is_file()


def test_an_import_that_fails_leaves_no_bundle_and_keeps_the_downloads(
    cache: Path, server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semla_ros.modeling.catseg.published.VIT_B16", replace(ARCH, text_layers=1))
    assert main(GET) == 1
    assert "weights do not fit" in capsys.readouterr().err
    assert list((cache / "bundles").iterdir()) == []
    assert {path.name for path in cache.iterdir()} == {"bundles", "catseg-large", "semla-loradb", "clip-vit-l-14"}


def test_the_bundle_may_be_written_elsewhere(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GET, "-o", str(tmp_path / "mine")]) == 0
    assert f"--bundle {tmp_path / 'mine'}" in capsys.readouterr().out
    assert (tmp_path / "mine/bundle.yaml").is_file()


def test_a_place_that_is_taken_is_refused_before_the_download(
    cache: Path, tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    assert main([*GET, "-o", str(tmp_path / "mine")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert server.ranges == []


def test_an_unknown_bundle_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "get", "atlantis"]) == 1
    assert "got atlantis, expected official" in capsys.readouterr().err


def test_the_import_command_takes_the_kinds(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"--segmenter={published / 'model_large.pth'}", f"--library={published / 'loradb.zip'}"]
    command = ["models", "import", *files, f"--navigator={published / 'open_clip_model.safetensors'}"]
    assert main([*command, "--kind", "unet", "-o", str(tmp_path / "out")]) == 1
    assert "unknown kind of segmenter" in capsys.readouterr().err
    assert main([*command, "--navigator-kind", "dino", "-o", str(tmp_path / "out")]) == 1
    assert "unknown kind of navigator" in capsys.readouterr().err
    assert main([*command, "--kind", "catseg", "--navigator-kind", "clip", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/bundle.yaml").is_file()
