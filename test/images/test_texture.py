from __future__ import annotations

import numpy as np
import pytest

from semla_ros.images.texture import TEXTURE_DIM, texture

SMOOTH = np.broadcast_to(np.linspace(0, 255, 240)[None, :, None], (160, 240, 3)).astype(np.uint8)
NOISE = np.random.default_rng(0).integers(-20, 21, SMOOTH.shape)
NOISY = (SMOOTH + NOISE).clip(0, 255).astype(np.uint8)


def test_a_texture_begins_with_mean_and_deviation_of_each_channel() -> None:
    found = texture(SMOOTH * np.array([1, 0, 1], np.uint8))
    assert found.shape == (TEXTURE_DIM,)
    assert found[:3] == pytest.approx([0.5, 0.0, 0.5], abs=0.01)
    assert found[3:6] == pytest.approx([1 / 12**0.5, 0.0, 1 / 12**0.5], abs=0.01)


def test_noise_raises_the_detail_of_the_finest_scale() -> None:
    smooth, noisy = texture(SMOOTH), texture(NOISY)
    assert (noisy[6:24] > smooth[6:24]).all()
    assert noisy[:3] == pytest.approx(smooth[:3], abs=0.01)


def test_vertical_edges_are_detail_in_the_first_band_only() -> None:
    bars = np.zeros((128, 128, 3), np.uint8)
    bars[:, ::2] = 255
    horizontal, vertical, diagonal = (texture(bars)[6 + 6 * band] for band in range(3))
    assert horizontal == pytest.approx(0.0, abs=0.01)
    assert vertical == diagonal == pytest.approx(np.log(3e-4), abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (128, 128), (1080, 1920)])
@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_any_size_without_detail_has_a_finite_texture(size: tuple[int, int], value: int) -> None:
    assert np.isfinite(texture(np.full((*size, 3), value, np.uint8))).all()


def test_the_texture_depends_little_on_the_resolution_of_a_smooth_image() -> None:
    assert texture(SMOOTH.repeat(2, 0).repeat(2, 1)) == pytest.approx(texture(SMOOTH), abs=0.2)
