from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from tiny import image, random_navigator

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError, ImageError
from semla_ros.images.files import write_image
from semla_ros.library import image_statistics as module
from semla_ros.library.adapter_folder import read_statistics, statistics_file
from semla_ros.library.image_statistics import image_statistics, images_of, write_statistics

NAVIGATOR = random_navigator()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images/red/morning").mkdir(parents=True)
    for seed in range(4):
        write_image(tmp_path / f"images/red/{'morning/' * (seed > 1)}{seed}.png", image("red", seed))
    return tmp_path / "images"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    (tmp_path / "library/red").mkdir(parents=True)
    return tmp_path / "library/red"


def test_images_are_found_at_any_depth(root: Path) -> None:
    (root / "red/captions.txt").write_text("no image")
    assert [path.name for path in images_of(root, "red")] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("leftImg8bit/val", "gtFine/val")])
def test_the_label_maps_of_a_data_set_are_no_training_images(root: Path, images: str, labels: str) -> None:
    for folder in (images, labels):
        (root / "blue" / folder).mkdir(parents=True)
        write_image(root / "blue" / folder / "0.png", image("blue"))
    assert images_of(root, "blue") == [root / "blue" / images / "0.png"]


def test_a_missing_or_empty_folder_of_images_is_refused_by_name(root: Path) -> None:
    with pytest.raises(AdapterError, match=r"no images for adapter \(green\): got no folder .*images/green"):
        images_of(root, "green")
    (root / "green").mkdir()
    with pytest.raises(AdapterError, match=r"no images for adapter \(green\): got nothing in .*images/green"):
        images_of(root, "green")


def test_the_statistics_are_those_of_the_embeddings_of_the_images(root: Path) -> None:
    found = image_statistics(images_of(root, "red"), NAVIGATOR, pytest.fail)
    expected = Statistics.of(np.array([NAVIGATOR.embed(image("red", seed)) for seed in range(4)]))
    assert found is not None
    assert np.allclose(found.centroid, expected.centroid)
    assert (found.count, found.mean_distances) == (4, pytest.approx(expected.mean_distances))


def test_damaged_images_are_named_and_left_out(root: Path) -> None:
    (root / "red/1.png").write_bytes((root / "red/1.png").read_bytes()[:60])
    (root / "red/empty.jpg").touch()
    errors: list[ImageError] = []
    found = image_statistics(images_of(root, "red"), NAVIGATOR, errors.append)
    assert found is not None
    assert found.count == 3
    assert ["1.png" in str(errors[0]), "empty.jpg" in str(errors[1]), len(errors)] == [True, True, 2]


def test_without_any_readable_image_there_are_no_statistics(root: Path) -> None:
    for path in images_of(root, "red"):
        path.write_bytes(b"no image")
    assert image_statistics(images_of(root, "red"), NAVIGATOR, lambda error: None) is None


def test_written_statistics_are_read_back(adapter: Path) -> None:
    statistics = Statistics.of(np.random.default_rng(0).normal(size=(20, 8)))
    write_statistics(statistics, adapter)
    assert np.allclose(read_statistics(adapter).centroid, statistics.centroid)
    assert [path.name for path in adapter.iterdir()] == ["red_statistics.npz"]


@pytest.mark.parametrize("function", ["save_statistics", "os.replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_leaves_the_old_statistics(
    adapter: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    write_statistics(Statistics.of(np.ones((3, 8))), adapter)
    before = statistics_file(adapter).read_bytes()

    def fail(*args: object) -> None:
        if function == "save_statistics":
            Path(str(args[1])).write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(module if function == "save_statistics" else os, function.removeprefix("os."), fail)
        with pytest.raises(
            AdapterError, match=f"statistics cannot be written.*red_statistics.npz.*{os.strerror(code)}"
        ):
            write_statistics(Statistics.of(np.zeros((3, 8))), adapter)
    assert {path.name: path.read_bytes() for path in adapter.iterdir()} == {"red_statistics.npz": before}
