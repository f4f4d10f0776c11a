from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import random_adapter, random_network

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, save_adapter
from semla_ros.library.library_folder import REMOVED, LibraryFolder
from semla_ros.library.manifest import MANIFEST

NETWORK = random_network()


def written(folder: Path, name: str, seed: int = 0) -> Path:
    embeddings = np.random.default_rng(seed).normal(seed, 1.0, (20, 8))
    save_adapter(random_adapter(name, NETWORK, seed=seed), Statistics.of(embeddings), folder)
    return folder / name


@pytest.fixture
def library(tmp_path: Path) -> LibraryFolder:
    for seed, name in enumerate(("fog", "night", "rain")):
        written(tmp_path / "library", name, seed)
    return LibraryFolder(tmp_path / "library")


@pytest.fixture
def snow(tmp_path: Path) -> AdapterFolder:
    return AdapterFolder(written(tmp_path / "new", "snow", 7))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, code: int) -> None:
    """Lets a function fail with an error of the operating system at one of its calls, counted from 1."""
    function, calls = getattr(owner, name), [0]

    def failing(*args: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise OSError(code, os.strerror(code), str(args[0]))
        return function(*args, **options)

    monkeypatch.setattr(owner, name, failing)


def test_hidden_folders_and_files_are_no_adapters(library: LibraryFolder) -> None:
    (library.path / ".training").mkdir()
    (library.path / "__MACOSX").mkdir()
    (library.path / "notes.txt").write_text("")
    assert LibraryFolder(library.path).names == ("fog", "night", "rain")


@pytest.mark.parametrize("name", [".fog", ".removed", "__MACOSX_fog"])
def test_an_adapter_that_the_library_would_not_find_is_not_added(library: LibraryFolder, name: str) -> None:
    folder = library.path.parent / name
    shutil.copytree(library.path / "fog", folder)
    (folder / "fog_statistics.npz").rename(folder / f"{name}_statistics.npz")
    before = content(library.path)
    with pytest.raises(AdapterError, match=f"not the name of an adapter.*got '{name}'"):
        library.add([AdapterFolder(folder)])
    assert content(library.path) == before


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no adapter library"):
        LibraryFolder(tmp_path / "nowhere")


def test_an_unknown_name_is_refused_with_the_most_similar_one(library: LibraryFolder) -> None:
    with pytest.raises(AdapterError, match=r"no such adapter.*got nigth.*fog, night, rain.*Did you mean night\?"):
        library.find("nigth")
    with pytest.raises(AdapterError, match=r"no such adapter.*got ../fog"):
        library.find("../fog")


def test_an_added_adapter_keeps_its_card_unless_that_is_a_link(library: LibraryFolder, snow: AdapterFolder) -> None:
    (snow.path / "README.md").write_text("trained in winter")
    (snow.path / "curve.png").symlink_to("/etc/hostname")
    library.add([snow])
    assert (library.path / "snow/README.md").read_text() == "trained in winter"
    assert not (library.path / "snow/curve.png").exists()


def test_an_added_adapter_has_the_files_of_an_adapter_and_no_others(
    library: LibraryFolder, snow: AdapterFolder
) -> None:
    (snow.path / "notes.txt").write_text("private")
    assert library.add([snow]) == {}
    assert library.names == ("fog", "night", "rain", "snow")
    added = content(library.path / "snow")
    assert set(added) == {CONFIG, WEIGHTS, "snow_statistics.npz", MANIFEST}
    assert added.items() <= content(snow.path).items()
    assert {path.name for path in library.path.iterdir()} == {"fog", "night", "rain", "snow"}


def test_an_adapter_of_the_same_name_is_refused_unless_it_may_be_replaced(
    library: LibraryFolder, tmp_path: Path
) -> None:
    new, before = AdapterFolder(written(tmp_path / "new", "fog", 9)), content(library.path)
    with pytest.raises(AdapterError, match=r"has an adapter of this name.*got fog.*--overwrite"):
        library.add([new])
    assert content(library.path) == before
    replaced = library.add([new], overwrite=True)
    assert content(library.path / "fog") == content(new.path)
    assert content(replaced["fog"]) == {
        name.removeprefix("fog/"): data for name, data in before.items() if name.startswith("fog/")
    }


def test_two_new_adapters_of_one_name_are_refused(library: LibraryFolder, snow: AdapterFolder, tmp_path: Path) -> None:
    other, before = AdapterFolder(written(tmp_path / "other", "snow")), content(library.path)
    with pytest.raises(AdapterError, match="two adapters of one name: got snow"):
        library.add([snow, other], overwrite=True)
    assert content(library.path) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", [1, 2, 5])
def test_a_full_or_read_only_disk_while_copying_leaves_the_library_as_it_was(
    library: LibraryFolder, snow: AdapterFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: int
) -> None:
    dusk, before = AdapterFolder(written(tmp_path / "new", "dusk")), content(library.path)
    fail_at(monkeypatch, shutil, "copyfile", call, code)
    with pytest.raises(AdapterError, match=rf"cannot be changed.*got {os.strerror(code)}.*Nothing has changed"):
        library.add([snow, dusk])
    assert content(library.path) == before
    assert {path.name for path in library.path.iterdir()} == {"fog", "night", "rain"}


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_adapter_that_cannot_be_moved_brings_all_others_back(
    library: LibraryFolder, snow: AdapterFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    new, before = AdapterFolder(written(tmp_path / "new", "fog", 9)), content(library.path)
    with monkeypatch.context() as broken:
        fail_at(broken, Path, "rename", call, errno.ENOSPC)
        with pytest.raises(AdapterError, match="Nothing has changed"):
            library.add([new, snow], overwrite=True)
    assert content(library.path) == before
    assert library.names == ("fog", "night", "rain")
    library.add([new, snow], overwrite=True)
    assert content(library.path / "fog") == content(new.path)


def test_a_removed_adapter_can_be_added_again(library: LibraryFolder) -> None:
    before = content(library.path)
    moved = library.remove(["night", "fog"])
    assert library.names == ("rain",)
    assert all(path.is_relative_to(library.path / REMOVED) and path.name == name for name, path in moved.items())
    library.add([AdapterFolder(path) for path in moved.values()])
    assert before.items() <= content(library.path).items()


def test_an_adapter_may_be_removed_and_added_again_and_again(library: LibraryFolder) -> None:
    for _ in range(3):
        library.add([AdapterFolder(library.remove(["fog"])["fog"])])
    assert library.names == ("fog", "night", "rain")


def test_one_unknown_name_of_several_removes_nothing(library: LibraryFolder) -> None:
    before = content(library.path)
    with pytest.raises(AdapterError, match="no such adapter"):
        library.remove(["fog", "hail"])
    assert content(library.path) == before


def test_a_read_only_disk_while_removing_leaves_the_library_as_it_was(
    library: LibraryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(library.path)
    fail_at(monkeypatch, Path, "rename", 2, errno.EROFS)
    with pytest.raises(AdapterError, match=r"cannot be changed.*Read-only file system.*Nothing has changed"):
        library.remove(["fog", "night"])
    assert content(library.path) == before
