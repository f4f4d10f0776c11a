"""Data sets in the panoptic format of COCO: what is read, and what is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semla_ros.errors import RecordingError
from semla_ros.evaluation.coco_panoptic import CocoPanoptic
from semla_ros.images.files import write_image
from semla_ros.images.panoptic import to_rgb
from semla_ros.streetworld import CLASSES, THINGS
from semla_ros.streetworld.dataset import sample, write_dataset

IDS = np.array([[7, 7, 300], [70_000, 0, 300]], np.int32)
SEGMENTS = [
    {"id": 300, "category_id": 3}, {"id": 7, "category_id": 1, "iscrowd": 0}, {"id": 70_000, "category_id": 3},
]  # fmt: skip
CATEGORIES = [
    {"id": 1, "name": "road", "isthing": 0}, {"id": 3, "name": "car", "isthing": 1},
    {"id": 9, "name": "tree-merged", "isthing": 0},
]  # fmt: skip


def content() -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": [dict(each) for each in SEGMENTS]}],
        "categories": [dict(each) for each in CATEGORIES],
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of one image in the places that COCO has."""
    root = tmp_path / "coco"
    (root / "val2017").mkdir(parents=True)
    (root / "annotations/panoptic_val2017").mkdir(parents=True)
    cv2.imwrite(str(root / "val2017/a.jpg"), np.full((2, 3, 3), 60, np.uint8))
    write_image(root / "annotations/panoptic_val2017/a.png", to_rgb(IDS))
    write(root, content())
    return root


def write(root: Path, values: object) -> None:
    (root / "annotations/panoptic_val2017.json").write_text(json.dumps(values))


def opened(root: Path, *classes: str, limit: int = 0) -> CocoPanoptic:
    return CocoPanoptic(root / "val2017", root / "annotations/panoptic_val2017.json", classes, limit)


def test_classes_and_instances_are_read(root: Path) -> None:
    dataset = opened(root, "car, automobile", "road")
    for _ in range(2):
        (item,) = dataset
        assert item.labels.tolist() == [[1, 1, 0], [0, 255, 0]]
        assert item.instances is not None
        assert item.instances.tolist() == [[0, 0, 1], [2, 0, 1]]
        assert (item.labels.dtype, item.instances.dtype) == (np.uint8, np.uint16)
    assert (dataset.name, len(dataset), dataset.things, dataset.skipped) == ("coco", 1, (True, False), {})


def test_by_default_the_categories_are_the_classes(root: Path) -> None:
    dataset = opened(root)
    assert (dataset.classes, dataset.things) == (("road", "car", "tree-merged"), (False, True, False))


def test_a_category_that_is_no_class_is_unlabelled_and_has_no_instances(root: Path) -> None:
    (item,) = opened(root, "road")
    assert item.labels.tolist() == [[0, 0, 255], [255, 255, 255]]
    assert item.instances is not None
    assert not item.instances.any()


def test_a_crowd_has_a_class_but_no_instance(root: Path) -> None:
    values = content()
    values["annotations"][0]["segments_info"][0]["iscrowd"] = 1
    write(root, values)
    (item,) = opened(root, "road", "car")
    assert item.labels.tolist() == [[0, 0, 1], [1, 255, 1]]
    assert item.instances is not None
    assert item.instances.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_a_category_may_have_synonyms_after_commas(root: Path) -> None:
    values = content()
    values["categories"][1]["name"] = "car, automobile"
    write(root, values)
    assert opened(root).classes == ("road", "car, automobile", "tree-merged")
    for dataset in (opened(root), opened(root, "road", "car"), opened(root, "road", "car, auto")):
        (item,) = dataset
        assert item.labels.tolist() == [[0, 0, 1], [1, 255, 1]]
        assert item.instances is not None
        assert item.instances.tolist() == [[0, 0, 1], [2, 0, 1]]
        assert dataset.things[:2] == (False, True)


def test_categories_with_the_same_first_name_stay_apart(root: Path) -> None:
    values = content()
    values["categories"][0]["name"] = "car, parked"
    write(root, values)
    (item,) = opened(root)
    assert item.labels.tolist() == [[0, 0, 1], [1, 255, 1]]


def test_a_limit_takes_the_first_images(root: Path) -> None:
    values = content()
    values["images"].append({"id": 6, "file_name": "missing.jpg"})
    values["annotations"].append({"image_id": 6, "file_name": "missing.png", "segments_info": []})
    write(root, values)
    assert len(opened(root, limit=1)) == 1


def test_a_rendered_data_set_reads_back(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dusk", "dusk", 2, 1, (120, 192), "coco")
    dataset = CocoPanoptic(tmp_path / "dusk/images", tmp_path / "dusk/panoptic.json")
    assert (dataset.name, dataset.classes) == ("dusk", CLASSES)
    assert dataset.things == tuple(name in THINGS for name in CLASSES)
    for index, item in enumerate(dataset):
        rendered = sample("dusk", index, 1, (120, 192))
        assert np.array_equal(item.rgb, rendered.rgb)
        assert np.array_equal(item.labels, rendered.labels)
        assert item.instances is not None
        pairs = np.unique(np.stack([item.instances, rendered.instances], -1).reshape(-1, 2), axis=0)
        assert len(pairs) == len(np.unique(rendered.instances)) == len(np.unique(item.instances))


def test_ids_that_the_annotations_do_not_describe_are_refused(root: Path) -> None:
    values = content()
    values["annotations"][0]["segments_info"].pop()
    write(root, values)
    with pytest.raises(RecordingError, match=r"do not describe.*a\.png.*got \[70000\]"):
        list(opened(root))


def test_segments_of_another_size_than_the_image_are_refused(root: Path) -> None:
    write_image(root / "annotations/panoptic_val2017/a.png", to_rgb(IDS[:1]))
    with pytest.raises(RecordingError, match=r"another size.*a\.png.*got \(1, 3\), expected \(2, 3\)"):
        list(opened(root))


def test_a_damaged_file_is_left_out_and_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "annotations/panoptic_val2017/a.png").write_bytes(b"cut")
    dataset = opened(root)
    assert [list(dataset), list(dataset)] == [[], []]
    assert list(dataset.skipped) == [root / "val2017/a.jpg"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", ["val2017/a.jpg", "annotations/panoptic_val2017/a.png"])
def test_a_missing_file_is_named_before_anything_is_read(root: Path, name: str) -> None:
    (root / name).unlink()
    with pytest.raises(RecordingError, match=rf"files of the data set are missing.*1 missing, such as .*{name}"):
        opened(root)


def test_missing_annotations_are_an_error(root: Path) -> None:
    (root / "annotations/panoptic_val2017.json").unlink()
    with pytest.raises(RecordingError, match=r"annotations cannot be read.*panoptic_val2017\.json.*No such file"):
        opened(root)


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    values = content()
    change(values)
    return values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "not in the panoptic format of COCO"),
        (changed(lambda all_: all_.pop("categories")), "not in the panoptic format of COCO.*categories"),
        (changed(lambda all_: all_["annotations"][0].pop("segments_info")), "not in the panoptic.*segments_info"),
        (changed(lambda all_: all_["categories"][0].pop("isthing")), "not in the panoptic format.*isthing"),
        (changed(lambda all_: all_["annotations"][0].update(image_id=8)), "not in the panoptic format of COCO.*8"),
        (changed(lambda all_: all_["categories"].pop(1)), r"unknown categories.*got \[3\], expected \[1, 9\]"),
        (changed(lambda all_: all_["annotations"].clear()), "no images"),
        (changed(lambda all_: all_["categories"][1].update(name="road")), r"one name.*got \['road'\]"),
        (changed(lambda all_: all_["categories"][1].update(name=" ")), "not in the panoptic.*no name of category 3"),
        (changed(lambda all_: all_["categories"][1].update(name=None)), "not in the panoptic format.*NoneType"),
        (changed(lambda all_: all_["images"].clear()), r"not in the panoptic format.*no image with the id 5"),
    ],
)  # fmt: skip
def test_annotations_of_another_format_are_refused_with_the_reason(root: Path, values: object, message: str) -> None:
    write(root, values)
    with pytest.raises(RecordingError, match=message):
        opened(root)


def test_annotations_that_are_no_json_are_refused(root: Path) -> None:
    (root / "annotations/panoptic_val2017.json").write_bytes(b"{")
    with pytest.raises(RecordingError, match="not in the panoptic format of COCO"):
        opened(root)


def test_classes_of_which_none_is_a_category_are_refused(root: Path) -> None:
    with pytest.raises(RecordingError, match=r"no category is one of the classes.*expected \['bus'\]"):
        opened(root, "bus")
