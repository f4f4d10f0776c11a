from __future__ import annotations

import numpy as np

from semla_ros.images.panoptic import NO_SEGMENT, Segments, from_rgb, outlines, pack, to_rgb


def test_a_panoptic_id_is_class_times_1000_plus_instance() -> None:
    classes, instances = np.array([[0, 11, 11, -1]]), np.array([[0, 1, 999, 0]], np.uint16)
    ids = pack(classes, instances)
    assert ids.dtype == np.int32
    assert ids.tolist() == [[0, 11_001, 11_999, NO_SEGMENT]]


def test_an_instance_that_does_not_fit_keeps_its_class() -> None:
    assert pack(np.array([[3, 3]], np.uint8), np.array([[1000, 65_535]], np.uint16)).tolist() == [[3000, 3000]]


def test_segment_ids_are_stored_as_colours_like_those_of_coco() -> None:
    ids = np.array([[0, 1, 256, 65_536, 2**24 - 1]], np.int32)
    assert to_rgb(ids)[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [255, 255, 255]]
    assert np.array_equal(from_rgb(to_rgb(ids)), ids)


def test_outlines_separate_instances_from_each_other_and_from_the_rest() -> None:
    instances = np.array([[0, 0, 0, 0], [0, 1, 2, 0], [0, 1, 2, 0], [0, 0, 0, 0]], np.uint16)
    expected = [[0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert outlines(instances).tolist() == [[bool(each) for each in row] for row in expected]
    assert not outlines(np.full((2, 2), 7)).any()


def test_pixels_that_are_taken_from_the_segments_have_no_class_and_no_instance() -> None:
    segments = Segments(np.array([[2, 2]], np.int32), np.array([[4, 4]], np.uint16))
    rest = segments.without(np.array([[True, False]]))
    assert (rest.classes.tolist(), rest.instances.tolist()) == ([[NO_SEGMENT, 2]], [[0, 4]])
    assert (rest.classes.dtype, rest.instances.dtype) == (np.int32, np.uint16)
