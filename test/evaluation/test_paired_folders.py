from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from semla_ros.errors import RecordingError
from semla_ros.evaluation.cityscapes import CityscapesFolder
from semla_ros.evaluation.paired_folders import PairedFolders, open_dataset
from semla_ros.streetworld import CLASSES as STREETWORLD
from semla_ros.streetworld.dataset import sample, write_dataset

CLASSES = "road", "sky", "car"
IDS = np.array([[0, 1, 2], [255, 0, 1]], np.uint8)


def write(root: Path, stem: str, labels: NDArray[np.generic] | None = IDS, suffix: str = ".png") -> None:
    image, label = root / f"images/{stem}{suffix}", root / f"labels/{stem}.png"
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(image), np.full((2, 3, 3), (30, 20, 10), np.uint8))
    if labels is not None:
        cv2.imwrite(str(label), labels)


def opened(root: Path) -> PairedFolders:
    return PairedFolders(root / "images", root / "labels", CLASSES)


def test_an_image_is_read_as_rgb_with_the_label_map_of_the_same_name(tmp_path: Path) -> None:
    write(tmp_path, "a")
    dataset = opened(tmp_path)
    for _ in range(2):
        (item,) = dataset
        assert (item.rgb == (10, 20, 30)).all()
        assert (item.labels == IDS).all()
    assert (dataset.name, len(dataset), dataset.skipped) == ("images", 1, {})


def test_subfolders_and_other_image_formats_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number, (stem, suffix) in enumerate((("b/2", ".JPG"), ("a/9", ".bmp"), ("c", ".jpeg"), ("d", ".ppm"))):
        write(tmp_path, stem, np.full((2, 3), number % 3, np.uint8), suffix)
    assert [int(item.labels[0, 0]) for item in opened(tmp_path)] == [1, 0, 2, 0]


def test_what_semla_world_writes_is_read(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dusk", "dusk", 2, 3, (48, 64))
    items = list(PairedFolders(tmp_path / "dusk/images", tmp_path / "dusk/labels", STREETWORLD))
    for index, item in enumerate(items):
        rendered = sample("dusk", index, 3, (48, 64))
        assert (item.rgb == rendered.rgb).all()
        assert (item.labels == rendered.labels).all()


def test_the_layout_of_cityscapes_is_recognised(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dusk", "dusk", 2, 3, (48, 64), layout="cityscapes")
    images, labels = tmp_path / "dusk/leftImg8bit/val", tmp_path / "dusk/gtFine/val"
    dataset = open_dataset(images, labels, STREETWORLD)
    assert isinstance(dataset, CityscapesFolder)
    assert [(item.labels == sample("dusk", i, 3, (48, 64)).labels).all() for i, item in enumerate(dataset)] == [
        True
    ] * 2
    with pytest.raises(RecordingError, match=r"label maps of another split.*gtFine/train.*expected .*gtFine/val"):
        open_dataset(images, labels.with_name("train"), STREETWORLD)


@pytest.mark.parametrize("name", ["images", "labels"])
def test_a_missing_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a")
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(RecordingError, match=rf"no such folder.*{name}"):
        opened(tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a")
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(RecordingError, match=r"no images \(.*images\): expected \.bmp"):
        opened(tmp_path)


def test_images_without_any_label_map_are_refused_with_an_example(tmp_path: Path) -> None:
    write(tmp_path, "a", None)
    write(tmp_path, "b", None)
    write(tmp_path, "b_mask")
    (tmp_path / "images/b_mask.png").unlink()
    with pytest.raises(
        RecordingError, match=r"without label maps.*got 1 label map, none for 2 images, expected a\.png for a\.png"
    ):
        opened(tmp_path)


def test_single_images_without_a_label_map_are_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a")
    write(tmp_path, "b", None)
    dataset = opened(tmp_path)
    assert (len(list(dataset)), [path.name for path in dataset.skipped]) == (1, ["b.png"])
    assert "skipped b.png: it has no label map" in caplog.text


@pytest.mark.parametrize("place", ["images/b.png", "labels/b.png"])
def test_a_damaged_file_in_the_middle_is_named_once_and_skipped(
    tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    for stem in "abc":
        write(tmp_path, stem)
    (tmp_path / place).write_bytes((tmp_path / place).read_bytes()[:40])
    dataset = opened(tmp_path)
    assert [len(list(dataset)) for _ in range(2)] == [2, 2]
    assert [path.name for path in dataset.skipped] == ["b.png"]
    assert [place in record.message for record in caplog.records] == [True]


def test_images_without_a_labelled_pixel_are_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a", np.full((2, 3), 255, np.uint8))
    write(tmp_path, "b")
    dataset = opened(tmp_path)
    assert [len(list(dataset)) for _ in range(2)] == [1, 1]
    assert [path.name for path in dataset.skipped] == ["a.png"]
    assert caplog.text.count("skipped a.png: its label map has no labelled pixel") == 1


def test_further_files_of_the_same_name_are_named_and_skipped(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".BMP"):
        write(tmp_path, "1", suffix=suffix)
    cv2.imwrite(str(tmp_path / "labels/1.tif"), IDS)
    dataset = opened(tmp_path)
    assert (len(dataset), len(list(dataset))) == (1, 1)
    assert {path.relative_to(tmp_path).as_posix(): reason for path, reason in dataset.skipped.items()} == {
        "images/1.jpg": "1.BMP has the same name before the suffix",
        "images/1.png": "1.BMP has the same name before the suffix",
        "labels/1.tif": "1.png has the same name before the suffix",
    }


def test_ids_without_a_class_are_refused_and_listed(tmp_path: Path) -> None:
    write(tmp_path, "a", np.array([[0, 3, 7], [255, 1, 2]], np.uint8))
    with pytest.raises(
        RecordingError,
        match=r"ids without a class.*a\.png\): got \[3, 7\], expected 0 \(road\) to 2 \(car\).*--classes",
    ):
        list(opened(tmp_path))


@pytest.mark.parametrize("labels", [np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3), np.uint16)])
def test_colours_and_sixteen_bits_are_no_label_map(tmp_path: Path, labels: NDArray[np.generic]) -> None:
    write(tmp_path, "a", labels)
    with pytest.raises(RecordingError, match=r"not a label map.*a\.png.*expected uint8 \(H, W\).*without colours"):
        list(opened(tmp_path))


def test_a_label_map_of_another_size_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", np.zeros((4, 4), np.uint8))
    with pytest.raises(RecordingError, match=r"another size.*\(4, 4\), expected \(2, 3\)"):
        list(opened(tmp_path))
