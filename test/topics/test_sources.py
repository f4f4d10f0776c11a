from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semla_ros.config import OutputConfig
from semla_ros.images.classes import class_table
from semla_ros.images.panoptic import Segments
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.topics.sources import DepthView, DomainReport, SegmentedImage, output_size

CLASSES = class_table(("road", "sky"))


def result(height: int = 48, width: int = 64) -> SimpleNamespace:
    generator = np.random.default_rng(0)
    frame = SimpleNamespace(rgb=generator.integers(0, 256, (height, width, 3), np.uint8))
    labels = generator.integers(0, 12, (height, width), np.uint8)
    confidence = (labels / 12).astype(np.float32)
    return SimpleNamespace(frame=frame, labels=labels, confidence=confidence, domain=DomainState(), segments=None)


def published(seen: Any, **settings: Any) -> SegmentedImage:
    return SegmentedImage.of(seen, None, CLASSES, OutputConfig(**settings))


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ((0, 0), (480, 640)),
        ((320, 0), (240, 320)),
        ((0, 120), (120, 160)),
        ((320, 200), (200, 320)),
        ((1280, 0), (960, 1280)),
        ((0, 4800), (4800, 6400)),
        ((1, 0), (1, 1)),
    ],
)
def test_the_published_size_is_the_requested_one_and_a_side_that_is_not_given_keeps_the_proportions(
    wanted: tuple[int, int], size: tuple[int, int]
) -> None:
    assert output_size(480, 640, OutputConfig(output_width=wanted[0], output_height=wanted[1])) == size


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"output_size": "cloud"}, (400, 848)),
        ({"output_size": "image"}, (480, 640)),
        ({"output_size": "cloud", "output_width": 320}, (240, 320)),
    ],
)
def test_the_published_size_is_that_of_the_point_cloud_if_asked(
    settings: dict[str, Any], size: tuple[int, int]
) -> None:
    assert output_size(480, 640, OutputConfig(**settings), cloud=(400, 848)) == size


@pytest.mark.parametrize("camera", ["image", "camera_info"])
def test_the_depth_image_or_its_camera_info_tells_the_size_of_the_point_cloud(camera: str) -> None:
    view = DepthView("/depth", **{camera: SimpleNamespace(height=96, width=128)})
    image = SegmentedImage.of(result(), None, CLASSES, OutputConfig(output_size="cloud"), depth=view)
    assert image.labels.shape == image.confidence.shape == (96, 128)


def test_until_the_size_of_the_point_cloud_is_known_that_of_the_image_is_published() -> None:
    image = SegmentedImage.of(result(), None, CLASSES, OutputConfig(output_size="cloud"), depth=DepthView("/depth"))
    assert image.labels.shape == (48, 64)


def test_a_larger_output_repeats_pixels_of_the_result() -> None:
    image = published(result(), output_width=128, confidence_encoding="32FC1")
    np.testing.assert_array_equal(image.labels[::2, ::2], result().labels)
    np.testing.assert_array_equal(image.confidence, (image.labels / 12).astype(np.float32))


def test_mono8_confidence_is_rounded_to_255ths() -> None:
    seen = result()
    seen.confidence = np.array([[0.0, 0.001, 0.002, 0.5, 0.999, 1.0]], np.float32)
    seen.labels = np.zeros((1, 6), np.uint8)
    confidence = published(seen).confidence
    assert confidence.dtype == np.uint8
    assert confidence.tolist() == [[0, 0, 1, 128, 255, 255]]


def test_float_confidence_is_published_unchanged() -> None:
    seen = result()
    assert published(seen, confidence_encoding="32FC1").confidence is seen.confidence


def test_a_smaller_output_has_no_new_class_and_each_label_keeps_its_own_confidence() -> None:
    image = published(result(), output_width=20, confidence_encoding="32FC1")
    assert image.labels.shape == image.confidence.shape == (15, 20)
    np.testing.assert_array_equal(image.confidence, (image.labels / 12).astype(np.float32))


def test_labels_above_255_are_kept_in_a_smaller_output() -> None:
    seen = result()
    seen.labels = seen.labels.astype(np.uint16) + 300
    image = published(seen, output_width=20)
    assert image.labels.dtype == np.uint16
    assert image.labels.min() >= 300


def test_segments_in_a_smaller_output_are_those_of_the_same_pixels_as_the_labels() -> None:
    seen = result()
    instances = np.random.default_rng(1).integers(0, 900, seen.labels.shape).astype(np.uint16)
    seen.segments = Segments(1000 * seen.labels.astype(np.int32) + instances - 1, instances)
    image = published(seen, output_width=20)
    assert image.segments is not None
    assert image.segments.classes.dtype == np.int32
    np.testing.assert_array_equal(
        image.segments.classes, 1000 * image.labels.astype(np.int32) + image.segments.instances - 1
    )


def test_domain_reports_are_equal_if_all_but_their_headers_is_equal() -> None:
    report = DomainReport.of(DomainState(swaps=1), "header 1", "semla")
    assert report == DomainReport.of(DomainState(swaps=1), "header 2", "semla")
    assert report != DomainReport.of(DomainState(swaps=2), "header 1", "semla")
    assert report != DomainReport.of(DomainState(swaps=1), "header 1", "/robot_1/semla")


def test_a_domain_report_names_its_reporter() -> None:
    assert DomainReport.of(DomainState(), None, "/robot_1/semla").name == "/robot_1/semla: domain"
