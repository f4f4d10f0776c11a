"""Reference values of rendered images: the bundled models were trained on exactly these pixels and captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from semla_ros.streetworld.dataset import sample
from semla_ros.streetworld.drive import DEMO_LEGS, Drive

SIZE = (120, 192)


@dataclass(frozen=True)
class Reference:
    """Values of one image of 120 x 192 pixels.

    Attributes:
        pixels: Number of pixels of each class.
        quadrants: Mean intensity of the upper left, upper right, lower left and lower right quarter, 0 to 255.
    """

    pixels: tuple[int, ...]
    quadrants: tuple[float, ...]


SAMPLES = {
    "rain_night": (
        "a camera image of a broad road at night in the rain with several trees and three pedestrians",
        Reference((9216, 634, 4416, 556, 328, 523, 25, 84, 1597, 4393, 505, 763), (54.21, 46.15, 88.02, 74.14)),
    ),
    "forest": (
        "a woodland road in a forest with three people and some bushes",
        Reference((4958, 0, 0, 0, 38, 511, 0, 2, 13190, 1151, 239, 2951), (78.52, 70.4, 61.0, 69.34)),
    ),
    "corridor": (
        "a photo of a broad corridor under ceiling lamps indoors with a road sign",
        Reference((6811, 0, 5562, 9018, 0, 230, 333, 292, 109, 0, 685, 0), (134.09, 134.05, 92.82, 105.27)),
    ),
    "snow_day": (
        "a picture of a road in the snow with five walkers and a hedge",
        Reference((6125, 2670, 1889, 1955, 88, 621, 65, 0, 4356, 4539, 571, 161), (184.72, 194.18, 165.77, 164.95)),
    ),
    "dirty_lens": (
        "some pedestrians and several buildings, a road behind a smeared lens",
        Reference((8403, 683, 6339, 0, 423, 438, 35, 0, 1292, 4806, 367, 254), (162.58, 100.39, 95.69, 89.2)),
    ),
}
DRIVE_FRAME = Reference((6699, 2036, 8271, 29, 0, 978, 35, 65, 1526, 2443, 904, 54), (152.42, 122.86, 101.87, 112.31))


def assert_equals(reference: Reference, rgb: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    """Compares with tolerances that other versions of NumPy and OpenCV stay within, and no other image does."""
    height, width = labels.shape
    quadrants = rgb.reshape(2, height // 2, 2, width // 2, 3).mean((1, 3, 4)).ravel()
    assert np.bincount(labels.ravel(), minlength=12) == pytest.approx(reference.pixels, abs=40)
    assert quadrants == pytest.approx(reference.quadrants, abs=0.5)


@pytest.mark.parametrize("domain", SAMPLES)
def test_samples_have_their_reference_pixels_and_captions(domain: str) -> None:
    caption, reference = SAMPLES[domain]
    rendered = sample(domain, 3, 1, SIZE)
    assert rendered.caption == caption
    assert_equals(reference, rendered.rgb, rendered.labels)


def test_a_drive_has_its_reference_pixels() -> None:
    rendered = Drive(DEMO_LEGS, 1, SIZE).frame(130)
    assert_equals(DRIVE_FRAME, rendered.frame.rgb, rendered.labels)
