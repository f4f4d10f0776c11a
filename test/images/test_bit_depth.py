from __future__ import annotations

import numpy as np
import pytest

from semla_ros.images.bit_depth import BitDepth, full_range


def scaled(depth: BitDepth, *values: int) -> list[int]:
    return depth.to_uint8(np.array([values], np.uint16))[0].tolist()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_the_whole_range_of_a_common_sensor_becomes_the_whole_range_of_8_bits(bits: int) -> None:
    assert scaled(BitDepth(), 0, 2 ** (bits - 1), 2**bits - 1) == [0, 128, 255]


def test_the_bit_depth_only_grows_so_that_dark_images_do_not_flicker() -> None:
    depth = BitDepth()
    assert scaled(depth, 2**14 - 1) == [255]
    assert scaled(depth, 2**10 - 1) == [16]
    assert depth.bits == 14
    assert scaled(depth, 2**16 - 1) == [255]
    assert depth.bits == 16


def test_a_black_image_stays_black() -> None:
    assert scaled(BitDepth(), 0) == [0]


def test_the_full_range_is_scaled_by_257_and_rounded() -> None:
    assert scaled(full_range(), 0, 128, 129, 32768, 65280) == [0, 0, 1, 128, 254]


def test_the_shape_is_kept() -> None:
    assert BitDepth().to_uint8(np.zeros((3, 5, 3), np.uint16)).shape == (3, 5, 3)
    assert BitDepth().to_uint8(np.zeros((1, 5), np.uint16)).shape == (1, 5)
