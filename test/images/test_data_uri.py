from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from semla_ros.errors import ImageError
from semla_ros.images.data_uri import drawing, photo
from semla_ros.images.files import encoded

IMAGE = np.zeros((40, 60, 3), np.uint8) + np.array([200, 30, 60], np.uint8)


def decoded(uri: str, kind: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_a_drawing_keeps_every_pixel() -> None:
    np.testing.assert_array_equal(decoded(drawing(IMAGE), "image/png"), IMAGE)


def test_a_photo_keeps_its_colours() -> None:
    np.testing.assert_allclose(decoded(photo(IMAGE), "image/jpeg"), IMAGE, atol=6)


def test_an_image_too_wide_for_jpeg_is_an_error() -> None:
    with pytest.raises(ImageError, match=r"cannot be encoded as JPEG: got \(1, 70000, 3\)"):
        photo(np.zeros((1, 70_000, 3), np.uint8))


def test_an_empty_image_is_an_error() -> None:
    with pytest.raises(ImageError, match="cannot be encoded as PNG"):
        drawing(np.zeros((0, 6, 3), np.uint8))


def test_a_smaller_quality_gives_a_smaller_file() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(encoded(noise, ".jpg", quality=50)) < len(encoded(noise, ".jpg"))
