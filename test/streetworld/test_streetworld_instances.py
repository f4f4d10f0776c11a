"""Instances of StreetWorld: the pixels of each car and person, in memory and in the panoptic format of COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from semla_ros.errors import ConfigError
from semla_ros.images.files import read_rgb
from semla_ros.images.panoptic import from_rgb
from semla_ros.streetworld import CLASSES, THINGS, layers
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.cars import CAR, Car
from semla_ros.streetworld.dataset import sample, write_dataset
from semla_ros.streetworld.layers import MIN_INSTANCE
from semla_ros.streetworld.layout import street_layout
from semla_ros.streetworld.mesh import Mesh
from semla_ros.streetworld.panoptic import ANNOTATIONS
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import Scene

SIZE = (120, 192)
THING_IDS = [CLASSES.index(name) for name in THINGS]


def test_instances_are_numbered_without_gaps_and_lie_on_things() -> None:
    for index in range(4):
        item = sample("clear_day", index, 1, SIZE)
        found, pixels = np.unique(item.instances[item.instances > 0], return_counts=True)
        assert found.tolist() == list(range(1, len(found) + 1))
        assert pixels.min() >= MIN_INSTANCE
        assert np.isin(item.labels[item.instances > 0], THING_IDS).all()
        assert (item.instances.dtype, item.instances.shape) == (np.uint16, SIZE)


def test_every_instance_has_one_class() -> None:
    item = sample("clear_day", 0, 1)
    for number in range(1, int(item.instances.max()) + 1):
        assert len(np.unique(item.labels[item.instances == number])) == 1


def test_things_without_an_instance_are_smaller_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    item = sample("clear_day", 0, 1, SIZE)
    monkeypatch.setattr(layers, "MIN_INSTANCE", 1)
    every = sample("clear_day", 0, 1, SIZE).instances
    assert (every > 0).sum() == np.isin(item.labels, THING_IDS).sum()
    left_out = np.bincount(every[(every > 0) & (item.instances == 0)])
    assert 0 < left_out.max() < MIN_INSTANCE


def test_the_rendered_image_does_not_depend_on_the_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    item = sample("rain_night", 3, 1, SIZE)
    monkeypatch.setattr(layers, "_instances", lambda label, object_id: np.zeros(label.shape, np.uint16))
    plain = sample("rain_night", 3, 1, SIZE)
    assert not plain.instances.any()
    assert np.array_equal(item.rgb, plain.rgb)
    assert np.array_equal(item.labels, plain.labels)
    assert (item.caption, item.depth.tobytes()) == (plain.caption, plain.depth.tobytes())


def test_a_car_behind_another_keeps_its_visible_pixels_and_the_shadow_belongs_to_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two_cars(scene: Scene) -> Mesh:
        mesh = Mesh()
        for s in (40.0, 12.0):
            mesh.begin_object("car", s, 5, scene.layout.cell)
            outline = ((s, 0.5), (s, 1.4), (s + 4.4, 1.4), (s + 4.4, 0.5))
            Car(scene.pose.u, s, True, 4.4, 1.42, outline, (1, 0, 0)).build(mesh, scene.pose.u)
        return mesh

    monkeypatch.setattr(Scene, "mesh", two_cars)
    plan = street_layout("street", 1)
    view = render(Scene(plan, 1, Pose(0.0, plan.lane, h=3.0)), Camera.of_size((240, 384)))
    far, near = view.depth[view.instance == 1], view.depth[view.instance == 2]
    assert far.min() > 39
    assert near.max() < 18
    assert far.size > 0
    assert ((view.instance > 0) == (view.label == CAR)).all()


def test_a_panoptic_data_set_has_a_segment_per_instance_and_per_stuff_class(tmp_path: Path) -> None:
    write_dataset(tmp_path, "clear_day", 2, 1, SIZE, "coco")
    content = json.loads((tmp_path / ANNOTATIONS).read_text())
    assert [(each["id"], each["name"], each["isthing"]) for each in content["categories"]][-2:] == [
        (11, "person", 1), (12, "car", 1)
    ]  # fmt: skip
    for index, (image, annotation) in enumerate(zip(content["images"], content["annotations"], strict=True)):
        item = sample("clear_day", index, 1, SIZE)
        ids = from_rgb(read_rgb(tmp_path / "panoptic" / annotation["file_name"]))
        assert (image["height"], image["width"], annotation["image_id"]) == (*SIZE, image["id"])
        assert np.array_equal(read_rgb(tmp_path / "images" / image["file_name"]), item.rgb)
        assert np.array_equal(ids // 1000 - 1, item.labels)
        assert np.array_equal(ids % 1000, item.instances)
        assert sorted(np.unique(ids).tolist()) == sorted(each["id"] for each in annotation["segments_info"])
        for each in annotation["segments_info"]:
            mask = ids == each["id"]
            left, top, width, height = each["bbox"]
            assert each["area"] == mask.sum() == mask[top : top + height, left : left + width].sum()
            assert mask[top].any()
            assert mask[:, left + width - 1].any()
            assert each["iscrowd"] == int(each["id"] in (11_000, 12_000))


def test_a_continued_panoptic_data_set_equals_one_written_in_a_single_run(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", "dusk", 1, 1, SIZE, "coco")
    write_dataset(tmp_path / "a", "dusk", 2, 1, SIZE, "coco")
    write_dataset(tmp_path / "b", "dusk", 2, 1, SIZE, "coco")
    files = [file.relative_to(tmp_path / "b") for file in sorted((tmp_path / "b").rglob("*.*"))]
    assert len(files) == 6
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_a_data_set_of_label_maps_is_not_continued_as_a_panoptic_one(tmp_path: Path) -> None:
    write_dataset(tmp_path, "dusk", 1, 1, SIZE)
    with pytest.raises(ConfigError, match="another domain, seed, size or layout"):
        write_dataset(tmp_path, "dusk", 2, 1, SIZE, "coco")
