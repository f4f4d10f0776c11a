from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tiny import image

from semla_ros.errors import ImageError
from semla_ros.gaps.training_set import write_training_set
from semla_ros.images.classes import class_table
from semla_ros.images.files import write_image

CLASSES = class_table(["road", "car, automobile", 'a "strange" <class>'])


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    (tmp_path / "record").mkdir()
    files = [tmp_path / f"record/{number}.png" for number in range(3)]
    for file in files:
        write_image(file, image("red"))
    return files


def test_images_are_copied_beside_an_empty_folder_for_labels(images: list[Path], tmp_path: Path) -> None:
    copies = write_training_set(tmp_path / "set", images, CLASSES)
    assert copies == sorted((tmp_path / "set/images").iterdir())
    assert [file.read_bytes() for file in sorted((tmp_path / "set/images").iterdir())] == [
        file.read_bytes() for file in images
    ]
    assert list((tmp_path / "set/labels").iterdir()) == []


def test_classes_are_listed_in_the_order_of_their_ids(images: list[Path], tmp_path: Path) -> None:
    write_training_set(tmp_path / "set", images, CLASSES)
    assert (tmp_path / "set/classes.txt").read_text().splitlines() == [each.name for each in CLASSES]


def test_cvat_gets_names_colours_and_masks(images: list[Path], tmp_path: Path) -> None:
    write_training_set(tmp_path / "set", images, CLASSES)
    labels = json.loads((tmp_path / "set/cvat_labels.json").read_text())
    assert [each["name"] for each in labels] == ["road", "car", 'a "strange" <class>']
    assert labels[0] == {"name": "road", "color": "#804080", "type": "mask", "attributes": []}


def test_classes_with_the_same_first_synonym_have_names_and_colours_of_their_own(
    images: list[Path], tmp_path: Path
) -> None:
    write_training_set(tmp_path / "set", images, class_table(["car, automobile", "car, race car", "sky"]))
    labels = json.loads((tmp_path / "set/cvat_labels.json").read_text())
    assert [each["name"] for each in labels] == ["car, automobile", "car, race car", "sky"]
    assert len({each["color"] for each in labels}) == 3


def test_no_class_is_black_which_is_the_background_of_exports(images: list[Path], tmp_path: Path) -> None:
    write_training_set(tmp_path / "set", images, class_table(["night"], {"night": (0, 0, 0)}))
    (label,) = json.loads((tmp_path / "set/cvat_labels.json").read_text())
    assert label["color"] != "#000000"


def test_label_studio_gets_a_brush_with_every_class(images: list[Path], tmp_path: Path) -> None:
    write_training_set(tmp_path / "set", images, CLASSES)
    view = ElementTree.parse(tmp_path / "set/label_studio.xml").getroot()
    assert view.find("Image").get("value") == "$image"
    assert view.find("BrushLabels").get("toName") == view.find("Image").get("name")
    labels = [(each.get("value"), each.get("background")) for each in view.iter("Label")]
    assert labels[0] == ("road", "#804080")
    assert [name for name, _ in labels] == ["road", "car", 'a "strange" <class>']


def test_an_image_that_is_missing_is_left_out(images: list[Path], tmp_path: Path) -> None:
    images[1].unlink()
    copies = write_training_set(tmp_path / "set", images, CLASSES)
    assert [copy.name for copy in copies] == ["0.png", "2.png"]


def test_an_image_that_its_node_replaces_during_the_copying_is_left_out(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def replaced_meanwhile(source: Path, target: Path) -> None:
        images[2].unlink(missing_ok=True)
        copyfile(source, target)

    monkeypatch.setattr("shutil.copyfile", replaced_meanwhile)
    copies = write_training_set(tmp_path / "set", images, CLASSES)
    assert [copy.name for copy in copies] == ["0.png", "1.png"]


def test_a_place_that_cannot_be_written_is_an_error(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot be written"):
        write_training_set(tmp_path / "file/set", images, CLASSES)
