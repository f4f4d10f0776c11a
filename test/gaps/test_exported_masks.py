from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import image

from semla_ros.cli import main
from semla_ros.errors import ArchiveError, ImageError
from semla_ros.gaps.exported_masks import write_labels
from semla_ros.gaps.training_set import write_training_set
from semla_ros.images.classes import class_table
from semla_ros.images.files import read_unchanged, write_image

COLORS = {"background": (0, 0, 0), "sky": (70, 130, 180), "road": (128, 64, 128), "bicycle": (119, 11, 32)}


@pytest.fixture
def training_set(tmp_path: Path) -> Path:
    """Three images, and the classes road, car and sky."""
    (tmp_path / "record").mkdir()
    files = [tmp_path / f"record/{number}.png" for number in (100, 200, 300)]
    for file in files:
        write_image(file, image("red"))
    write_training_set(tmp_path / "set", files, class_table(["road", "car, automobile", "sky"]))
    return tmp_path / "set"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """What CVAT exports: masks of two of the images."""
    folder = tmp_path / "export"
    (folder / "SegmentationClass").mkdir(parents=True)
    lines = ["# label:color_rgb:parts:actions", *(f"{name}:{r},{g},{b}::" for name, (r, g, b) in COLORS.items())]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n")
    for name in (100, 300):
        write_image(folder / f"SegmentationClass/{name}.png", mask())
    return folder


def mask() -> np.ndarray:
    return np.array([[COLORS["road"], COLORS["sky"]], [COLORS["bicycle"], COLORS["background"]]], np.uint8)


def test_colours_become_the_ids_of_the_training_set(export: Path, training_set: Path) -> None:
    done = write_labels(export, training_set)
    assert (done.written, done.missing, done.errors) == (2, ["200.png"], [])
    for name in (100, 300):
        assert read_unchanged(training_set / f"labels/{name}.png").tolist() == [[0, 2], [255, 255]]


def test_a_zip_file_is_read_as_it_was_downloaded(
    export: Path, training_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shutil.make_archive(str(tmp_path / "task"), "zip", export)
    assert main(["library", "labels", archive, str(training_set)]) == 0
    shown = capsys.readouterr().out
    assert "2 label maps written" in shown
    assert "not labelled yet: 1 images, 200.png" in shown
    assert read_unchanged(training_set / "labels/100.png").tolist() == [[0, 2], [255, 255]]


def test_a_mask_of_palette_colours_is_read_like_one_of_three_channels(export: Path, training_set: Path) -> None:
    from PIL import Image

    Image.fromarray(mask()).quantize(colors=4).save(export / "SegmentationClass/100.png")
    write_labels(export, training_set)
    assert read_unchanged(training_set / "labels/100.png").tolist() == [[0, 2], [255, 255]]


@pytest.mark.parametrize("damage", ["truncated", "unknown colour"])
def test_a_bad_mask_is_named_and_skipped_and_the_others_are_written(
    damage: str, export: Path, training_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = export / "SegmentationClass/100.png"
    if damage == "truncated":
        file.write_bytes(b"no image")
    else:
        assert cv2.imwrite(str(file), np.full((2, 2, 3), 7, np.uint8))
    assert main(["library", "labels", str(export), str(training_set)]) == 1
    shown = capsys.readouterr()
    assert "100.png" in shown.err
    assert "masks were skipped" in shown.err
    assert "1 label maps written" in shown.out
    assert [path.name for path in (training_set / "labels").iterdir()] == ["300.png"]


def test_classes_with_the_same_first_synonym_are_told_apart_by_their_whole_names(
    export: Path, training_set: Path
) -> None:
    (training_set / "classes.txt").write_text("road, lane\nroad, motorway\nsky\n")
    lines = "road, lane:119,11,32::", "road, motorway:128,64,128::", "sky:70,130,180::"
    (export / "labelmap.txt").write_text("\n".join(lines))
    write_labels(export, training_set)
    assert read_unchanged(training_set / "labels/100.png").tolist() == [[1, 2], [0, 255]]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [f"class {number}" for number in range(256)],
            r"too many classes .*classes\.txt.*256, expected at most 255",
        ),
        (["road", "sky", "road"], r"unusable list of classes .*classes\.txt.*class named twice"),
    ],
)
def test_classes_that_label_maps_cannot_hold_are_refused_before_anything_is_written(
    lines: list[str], told: str, export: Path, training_set: Path
) -> None:
    (training_set / "classes.txt").write_text("\n".join(lines))
    with pytest.raises(ImageError, match=told):
        write_labels(export, training_set)
    assert list((training_set / "labels").iterdir()) == []


def test_a_colour_that_stands_for_two_classes_is_refused(export: Path, training_set: Path) -> None:
    (export / "labelmap.txt").write_text("road:128,64,128::\nsky:128,64,128::\n")
    with pytest.raises(ImageError, match=r"two classes with one colour .*got sky:128,64,128::"):
        write_labels(export, training_set)
    assert list((training_set / "labels").iterdir()) == []


@pytest.mark.parametrize("name", ["labelmap.txt", "classes.txt"])
def test_a_missing_list_of_classes_is_an_error(name: str, export: Path, training_set: Path) -> None:
    (export if name == "labelmap.txt" else training_set).joinpath(name).unlink()
    with pytest.raises(ImageError, match=f"unreadable list of classes .*{name}"):
        write_labels(export, training_set)


def test_a_line_without_a_colour_is_an_error(export: Path, training_set: Path) -> None:
    (export / "labelmap.txt").write_text("road:red::\n")
    with pytest.raises(ImageError, match=r"class without a colour .*road:red"):
        write_labels(export, training_set)


def test_an_export_without_any_mask_is_an_error(
    export: Path, training_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(export / "SegmentationClass")
    assert main(["library", "labels", str(export), str(training_set)]) == 1
    assert "no masks" in capsys.readouterr().err


def test_a_damaged_zip_file_is_an_error(training_set: Path, tmp_path: Path) -> None:
    (tmp_path / "task.zip").write_bytes(b"no archive")
    with pytest.raises(ArchiveError):
        write_labels(tmp_path / "task.zip", training_set)
