"""Data sets on disk: an interrupted or failed run leaves nothing that a later run takes for complete."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from semla_ros.errors import ImageError
from semla_ros.streetworld.dataset import write_dataset

SIZE = (120, 192)


@contextmanager
def largest_file(bytes_: int) -> Iterator[None]:
    """Limits the size of every file that this process writes: a write beyond it fails midway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path to content of every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two samples, written without interruption."""
    folder = tmp_path_factory.mktemp("complete")
    write_dataset(folder, "dusk", 2, 1, SIZE)
    return folder


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_no_partial_image(tmp_path: Path) -> None:
    with largest_file(20_000), pytest.raises(ImageError, match=r"cannot be written.*000000\.png.*File too large"):
        write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    assert [name for name in contents(tmp_path) if name != "captions.txt"] == []
    assert (tmp_path / "captions.txt").read_text() == ""


def test_a_run_after_a_full_disk_completes_the_data_set(tmp_path: Path, complete: Path) -> None:
    with largest_file(20_000), pytest.raises(ImageError):
        write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    assert contents(tmp_path) == contents(complete)


def test_a_label_map_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "labels/000000.png").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"cannot be written.*labels/000000\.png"):
        write_dataset(tmp_path, "dusk", 1, 1, SIZE)


def test_a_caption_cut_in_the_middle_is_written_again(tmp_path: Path, complete: Path) -> None:
    write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    captions = tmp_path / "captions.txt"
    captions.write_text(captions.read_text()[:-10])
    write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    assert contents(tmp_path) == contents(complete)


def test_asking_for_fewer_samples_than_there_are_changes_nothing(tmp_path: Path, complete: Path) -> None:
    write_dataset(tmp_path, "dusk", 2, 1, SIZE)
    write_dataset(tmp_path, "dusk", 1, 1, SIZE)
    assert contents(tmp_path) == contents(complete)
