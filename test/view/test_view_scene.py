from __future__ import annotations

import json
import struct

import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from view.serving import CLASSES, SECOND, scene

from semla_ros.images.classes import class_table
from semla_ros.view.foxglove_messages import regions
from semla_ros.view.scene import MAX_SIDE, PackedScene, Scene, anonymous


def test_a_packed_scene_is_unpacked_with_exact_ids_and_close_colours() -> None:
    original = scene()
    again = PackedScene(original.packed, CLASSES).scene
    assert again.stamp_ns == original.stamp_ns == SECOND
    np.testing.assert_array_equal(again.labels, original.labels)
    np.testing.assert_allclose(again.rgb, original.rgb, atol=3)
    np.testing.assert_allclose(again.confidence, original.confidence, atol=3)


def test_ids_above_255_survive_the_packing() -> None:
    labels = np.array([[0, 300], [65535, 255]], np.uint16)
    packed = Scene(5, None, labels, None, class_table([f"c{i}" for i in range(301)])).packed
    again = PackedScene(packed, ()).scene
    np.testing.assert_array_equal(again.labels, labels)
    assert again.rgb is None
    assert again.confidence is None


def test_the_header_has_the_share_of_each_class_and_unlabelled_pixels_belong_to_none() -> None:
    labels = np.array([[0, 0, 1, 255]], np.uint8)
    packed = Scene(5, None, labels, None, CLASSES).packed
    (length,) = struct.unpack_from("<I", packed)
    header = json.loads(packed[4 : 4 + length])
    assert header["shares"] == [0.5, 0.25, 0.0]
    assert header["unlabelled"] == 255


def test_large_images_are_scaled_down_for_the_view() -> None:
    large = scene(height=1500, width=2000)
    again = PackedScene(large.packed, CLASSES).scene
    assert max(again.labels.shape) == max(again.rgb.shape) == MAX_SIDE


def test_the_overlay_has_the_size_of_the_mask_and_the_colours_of_the_classes() -> None:
    labels = np.zeros((24, 32), np.uint8)
    overlay = Scene(1, np.full((48, 64, 3), 90, np.uint8), labels, None, CLASSES).overlay
    assert overlay.shape == (24, 32, 3)
    np.testing.assert_allclose(overlay[0, 0], (90 + np.array(CLASSES[0].color)) / 2, atol=1)


def test_without_an_image_the_overlay_is_the_colours_alone() -> None:
    overlay = Scene(1, None, np.ones((4, 4), np.uint8), None, CLASSES).overlay
    assert tuple(overlay[0, 0]) == CLASSES[1].color


def test_ids_without_names_are_numbered() -> None:
    assert [each.name for each in anonymous(np.array([[0, 2, 255]], np.uint8))] == ["class 0", "class 1", "class 2"]


def test_a_class_is_named_inside_its_largest_region_even_where_that_is_a_ring() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[10:50, 10:50] = 1
    labels[20:40, 20:40] = 2
    for name, _, (x, y), _ in regions(Scene(1, None, labels, None, CLASSES)):
        assert CLASSES[labels[int(y), int(x)]].name == name


def test_small_regions_get_no_name() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[0, :3] = 2
    assert [name for name, *_ in regions(Scene(1, None, labels, None, CLASSES))] == ["road"]


def test_a_region_has_the_first_synonym_of_its_class_unless_two_classes_share_it() -> None:
    labels = np.array([[0, 1, 2]] * 30, np.uint8).repeat(20, axis=1)
    classes = class_table([" road , street", "car,white", "car,red"])
    found = [name for name, *_ in regions(Scene(1, None, labels, None, classes))]
    assert found == ["road", "car,white", "car,red"]
