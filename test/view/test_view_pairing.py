from __future__ import annotations

import json

import numpy as np
import pytest
from view.serving import CLASSES

from semla_ros.errors import ImageError
from semla_ros.recordings.writer import new
from semla_ros.topics import messages
from semla_ros.view import pairing
from semla_ros.view.pairing import Pairing, classes_of, confidence_of

IMAGE = np.full((4, 6, 3), 90, np.uint8)
LABELS = np.zeros((4, 6), np.uint8)


def message(stamp_ns: int, pixels: np.ndarray) -> object:
    return messages.image(messages.header(stamp_ns, "camera", new), pixels, new)


def test_a_scene_is_made_when_image_mask_and_confidence_of_one_stamp_are_there() -> None:
    pairing = Pairing(CLASSES)
    assert pairing.image(message(1, IMAGE)) is None
    assert pairing.mask(message(1, LABELS)) is None
    scene = pairing.confidence(message(1, LABELS + 153))
    assert (scene.stamp_ns, scene.rgb.shape, scene.confidence[0, 0]) == (1, (4, 6, 3), 153)


def test_the_order_of_the_messages_does_not_matter() -> None:
    pairing = Pairing(CLASSES)
    assert pairing.mask(message(1, LABELS)) is None
    assert pairing.confidence(message(1, LABELS)) is None
    assert pairing.image(message(1, IMAGE)).stamp_ns == 1


def test_a_mask_whose_image_does_not_come_is_shown_without_it_and_counted() -> None:
    pairing = Pairing(CLASSES)
    pairing.mask(message(1, LABELS))
    pairing.confidence(message(1, LABELS))
    scene = pairing.mask(message(2, LABELS))
    assert (scene.stamp_ns, scene.rgb, pairing.missing) == (1, None, 1)


def test_at_the_end_the_last_mask_is_shown_with_what_has_come() -> None:
    pairing = Pairing(CLASSES)
    pairing.mask(message(1, LABELS))
    assert pairing.flush().stamp_ns == 1
    assert pairing.flush() is None


def test_where_no_images_are_expected_none_is_waited_for() -> None:
    pairing = Pairing(CLASSES, has_images=False)
    pairing.mask(message(1, LABELS))
    assert pairing.confidence(message(1, LABELS)).rgb is None
    assert pairing.missing == 0


def test_images_older_than_the_shown_one_are_forgotten() -> None:
    pairing = Pairing(CLASSES)
    for stamp in (1, 2, 3):
        pairing.image(message(stamp, IMAGE))
    pairing.mask(message(2, LABELS))
    pairing.confidence(message(2, LABELS))
    assert list(pairing._images) == [3]


def test_waiting_images_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "MAX_WAITING_BYTES", 3 * IMAGE.nbytes)
    waiting = Pairing(CLASSES)
    for stamp in range(1, 100):
        waiting.image(message(stamp, IMAGE))
    assert list(waiting._images) == [97, 98, 99]


def test_an_image_that_cannot_be_decoded_is_reported_and_the_mask_is_shown() -> None:
    pairing = Pairing(CLASSES)
    damaged = message(1, IMAGE)
    damaged.encoding = "unheard_of"
    pairing.image(damaged)
    pairing.mask(message(1, LABELS))
    assert pairing.confidence(message(1, LABELS)).rgb is None
    assert "unheard_of" in pairing.error


def test_float_confidences_are_shown_in_256_steps() -> None:
    values = np.array([[0.0, 0.6], [1.0, np.nan]], np.float32)
    assert confidence_of(message(1, values)).tolist() == [[0, 153], [255, 0]]


def test_a_truncated_float_confidence_is_refused() -> None:
    damaged = message(1, np.zeros((2, 2), np.float32))
    damaged.data = damaged.data[:-1]
    with pytest.raises(ImageError, match="15 bytes"):
        confidence_of(damaged)


def test_classes_are_read_from_the_labels() -> None:
    text = json.dumps([{"id": 0, "name": "road", "color": [1, 2, 3]}])
    (info,) = classes_of(new("std_msgs/msg/String", data=text))
    assert (info.id, info.name, info.color) == (0, "road", (1, 2, 3))
