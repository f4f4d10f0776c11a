"""Manifests: who writes them, what they find, and that ``sha256sum`` reads them."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tiny import random_adapter, random_network, write_bundle

from semla_ros.cli import main
from semla_ros.errors import AdapterError, BundleError
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, read_statistics, save_adapter
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import ADAPTERS, DESCRIPTION, NAVIGATOR, SEGMENTER, Bundle
from semla_ros.library.image_statistics import write_statistics
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.library.manifest import MANIFEST, differences, read_manifest, write_manifest

RED = Path(ADAPTERS, "red")


@pytest.fixture
def listed(pristine_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with its manifests."""
    return Path(shutil.copytree(pristine_bundle, tmp_path / "listed"))


def alter(file: Path) -> Path:
    """Flips the lowest bit of the last byte: most formats stay readable."""
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return file


def load(path: Path) -> None:
    bundle = Bundle.open(path)
    bundle.load_network()
    bundle.load_navigator()


def library(bundle: Path) -> AdapterLibrary:
    return AdapterLibrary(bundle / ADAPTERS, random_network().adapted_layers(), 8)


def test_a_saved_bundle_and_its_adapters_list_all_their_files(listed: Path) -> None:
    assert set(read_manifest(listed, BundleError) or ()) == {DESCRIPTION, SEGMENTER, NAVIGATOR}
    assert set(read_manifest(listed / RED, AdapterError) or ()) == {CONFIG, WEIGHTS, "red_statistics.npz"}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_verifies_a_manifest(listed: Path) -> None:
    for folder in (listed, listed / RED):
        subprocess.run(["sha256sum", "--check", "--strict", MANIFEST], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("name", [DESCRIPTION, SEGMENTER, NAVIGATOR])
def test_a_changed_file_of_a_bundle_is_refused_by_name(listed: Path, name: str) -> None:
    file = alter(listed / name)
    with pytest.raises(BundleError, match="not that of the manifest") as refused:
        load(listed)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("name", [CONFIG, "red_statistics.npz"])
def test_an_adapter_with_a_changed_file_is_left_out_and_the_others_are_used(listed: Path, name: str) -> None:
    file = alter(listed / RED / name)
    opened = library(listed)
    assert opened.names == ("blue", "green")
    assert "not that of the manifest" in str(opened.rejected[0])
    assert str(file) in str(opened.rejected[0])


def test_weights_damaged_before_they_are_opened_are_named_as_changed_not_as_incomplete(listed: Path) -> None:
    file = listed / RED / WEIGHTS
    file.write_bytes(file.read_bytes().replace(b"lora_A", b"lora_X", 1))
    opened = library(listed)
    assert opened.names == ("blue", "green")
    assert f"file is not that of the manifest ({file})" in str(opened.rejected[0])


def test_changed_weights_are_refused_when_they_are_loaded(listed: Path) -> None:
    opened = library(listed)
    file = alter(listed / RED / WEIGHTS)
    with pytest.raises(AdapterError, match="not that of the manifest") as refused:
        opened.load("red")
    assert str(file) in str(refused.value)
    assert opened.load("blue").factors


def test_a_file_that_is_not_listed_is_not_loaded(listed: Path) -> None:
    manifest = listed / MANIFEST
    manifest.write_text("".join(line for line in manifest.open() if NAVIGATOR not in line))
    with pytest.raises(BundleError, match=f"not in the manifest.*{NAVIGATOR}"):
        Bundle.open(listed).load_navigator()


def test_without_manifests_everything_works_and_that_is_said_once(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load(bundle)
        assert library(bundle).load("red").factors
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO"]
    assert f"{bundle} has no {MANIFEST}" in caplog.text
    assert "blue, green, red" in caplog.text


@pytest.mark.parametrize(
    "content", [b"no checksum\n", b"\xff\xfe", b"0" * 64 + b"  ../segmenter.safetensors\n", b"0" * 63 + b"  a\n"]
)
def test_a_malformed_manifest_is_refused_with_its_path(listed: Path, content: bytes) -> None:
    (listed / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=f"manifest.*{MANIFEST}"):
        Bundle.open(listed)


def test_a_pipe_in_place_of_a_manifest_is_refused_at_once(listed: Path) -> None:
    (listed / MANIFEST).unlink()
    os.mkfifo(listed / MANIFEST)
    with pytest.raises(BundleError, match="not a regular file"):
        Bundle.open(listed)


def test_an_added_adapter_is_listed_as_it_lies_in_the_library(listed: Path, tmp_path: Path) -> None:
    folder = AdapterFolder(listed / RED)
    (listed / RED / "README.md").write_text("a card")
    other = tmp_path / "other" / ADAPTERS
    other.mkdir(parents=True)
    LibraryFolder(other).add([folder])
    assert list(differences(other / "red")) == []
    assert (other / "red" / "README.md").is_file()


def test_new_statistics_are_listed_and_nothing_else_is(listed: Path) -> None:
    alter(listed / RED / WEIGHTS)
    statistics = read_statistics(listed / ADAPTERS / "blue")
    write_statistics(statistics, listed / RED)
    assert (read_statistics(listed / RED).centroid == statistics.centroid).all()
    assert list(differences(listed / RED)) == [f"changed: {listed / RED / WEIGHTS}"]


def test_statistics_of_an_adapter_without_a_manifest_make_none(bundle: Path) -> None:
    write_statistics(read_statistics(bundle / ADAPTERS / "blue"), bundle / RED)
    assert not (bundle / RED / MANIFEST).exists()


def test_an_adapter_that_is_saved_again_has_a_manifest_of_its_new_files(listed: Path) -> None:
    save_adapter(random_adapter("red", random_network(), seed=9), read_statistics(listed / RED), listed / ADAPTERS)
    assert library(listed).load("red").scale == 2.0


@pytest.mark.parametrize("name", ["..", "../red", "/tmp/red", "", ".", ".red", "a/b", "a\0b"])
def test_an_adapter_whose_name_leads_elsewhere_is_not_saved(listed: Path, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AdapterError, match="not the name of an adapter"):
        save_adapter(
            random_adapter(name, random_network()), read_statistics(listed / RED), listed / ADAPTERS, torch.float32
        )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["..", "../..", "/etc", "red/../blue", "red/", "red\0", "réd", "RED", ".removed"])
def test_only_the_names_of_adapters_are_found_in_a_library(listed: Path, name: str) -> None:
    with pytest.raises(AdapterError, match="no such adapter"):
        LibraryFolder(listed / ADAPTERS).find(name)


@pytest.mark.parametrize("name", ["schnee_übung", "雪", "a name", "x" * 200])
def test_names_of_any_script_are_adapters(listed: Path, name: str) -> None:
    save_adapter(random_adapter(name, random_network()), read_statistics(listed / RED), listed / ADAPTERS)
    assert LibraryFolder(listed / ADAPTERS).find(name).name == name
    assert library(listed).load(name).name == name


def test_a_link_that_leads_out_of_the_library_is_left_out_with_a_warning(
    listed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = shutil.copytree(listed / RED, tmp_path / "elsewhere" / "outside")
    (elsewhere / "red_statistics.npz").rename(elsewhere / "outside_statistics.npz")
    (listed / ADAPTERS / "outside").symlink_to(elsewhere)
    (listed / ADAPTERS / "broken").symlink_to(tmp_path / "nothing")
    assert LibraryFolder(listed / ADAPTERS).names == ("blue", "green", "red")
    assert f"{listed / ADAPTERS / 'outside'} leads out of the library" in caplog.text


def verify(*words: object) -> int:
    return main(["models", "verify", *map(str, words)])


def test_verify_accepts_a_bundle_as_it_was_written(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(listed) == 0
    assert "all files are those of the manifests (folders: 4)" in capsys.readouterr().out


def test_verify_names_changed_missing_extra_and_unlisted_files(
    listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(listed / SEGMENTER)
    (listed / NAVIGATOR).unlink()
    (listed / RED / "extra.bin").touch()
    (listed / ADAPTERS / "blue" / MANIFEST).unlink()
    (listed / ADAPTERS / "green" / MANIFEST).write_text("no checksum\n")
    assert verify(listed) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"missing: {listed / NAVIGATOR}",
        f"changed: {listed / SEGMENTER}",
        f"no manifest: {listed / ADAPTERS / 'blue'}",
        f"malformed manifest ({listed / ADAPTERS / 'green' / MANIFEST}): got 'no checksum', expected a SHA-256 and the"
        " name of a file",
        f"extra: {listed / RED / 'extra.bin'}",
    ]
    assert "5 differences" in printed.err


def test_verify_can_accept_files_as_they_are_and_names_them(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = listed / DESCRIPTION
    description.write_text(description.read_text().replace("random", "renamed"))
    assert verify(listed) == 1
    (listed / RED / MANIFEST).write_bytes(b"\xff")
    capsys.readouterr()
    assert verify(listed, "--accept") == 0
    shown = capsys.readouterr().out
    assert f"changed: {description}" in shown
    assert f"unreadable manifest ({listed / RED / MANIFEST})" in shown
    assert Bundle.open(listed).about == "renamed"
    assert verify(listed) == 0


def test_verify_does_not_end_well_when_what_it_has_accepted_is_no_bundle(
    listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed / DESCRIPTION).write_text("")
    assert verify(listed, "--accept") == 1
    assert str(listed / DESCRIPTION) in capsys.readouterr().err


def test_verify_finds_the_bundle_of_the_package_whole() -> None:
    assert verify("streetworld") == 0


def test_a_manifest_that_cannot_be_written_is_left_as_it_was(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (listed / MANIFEST).read_text()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_manifest(listed)
    assert (listed / MANIFEST).read_text() == before


def test_a_tiny_bundle_is_written_with_the_same_checksums_every_time(listed: Path, tmp_path: Path) -> None:
    again = write_bundle(tmp_path / "again")
    weights = [(read_manifest(path, BundleError) or {})[SEGMENTER] for path in (listed, again)]
    assert weights[0] == weights[1]
