from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from semla_ros.images.frame import Frame
from semla_ros.node.output import Output, output_size
from semla_ros.node.settings import NodeConfig


def result(height=48, width=64):
    rng = np.random.default_rng(0)
    frame = Frame(rng.integers(0, 256, (height, width, 3), np.uint8), 1)
    labels = rng.integers(0, 12, (height, width), np.uint8)
    return SimpleNamespace(frame=frame, labels=labels, confidence=(labels / 12).astype(np.float32))


@pytest.mark.parametrize(
    ("wanted", "published"),
    [
        ((0, 0), (480, 640)),
        ((320, 0), (240, 320)),
        ((0, 120), (120, 160)),
        ((320, 200), (200, 320)),
        ((1280, 0), (480, 640)),
        ((0, 4800), (480, 640)),
        ((1, 0), (1, 1)),
    ],
)
def test_the_published_size_is_what_was_asked_for_but_never_larger_than_the_input(wanted, published):
    assert output_size(480, 640, NodeConfig(output_width=wanted[0], output_height=wanted[1])) == published


def test_confidence_is_published_as_rounded_255ths():
    seen = result()
    seen.confidence = np.array([[0.0, 0.001, 0.002, 0.5, 0.999, 1.0]], np.float32)
    seen.labels = np.zeros((1, 6), np.uint8)
    output = Output.of(seen, NodeConfig())
    assert output.confidence.dtype == np.uint8
    assert output.confidence.tolist() == [[0, 0, 1, 128, 255, 255]]


def test_confidence_as_float_is_published_unchanged():
    seen = result()
    assert Output.of(seen, NodeConfig(confidence_encoding="32FC1")).confidence is seen.confidence


def test_a_shrunk_output_invents_no_class_and_keeps_each_labels_own_confidence():
    output = Output.of(result(), NodeConfig(output_width=20, confidence_encoding="32FC1"))
    assert output.labels.shape == output.confidence.shape == output.rgb.shape[:2] == (15, 20)
    np.testing.assert_array_equal(output.confidence, (output.labels / 12).astype(np.float32))


def test_labels_above_255_classes_survive_shrinking():
    seen = result()
    seen.labels = seen.labels.astype(np.uint16) + 300
    output = Output.of(seen, NodeConfig(output_width=20))
    assert output.labels.dtype == np.uint16
    assert output.labels.min() >= 300
