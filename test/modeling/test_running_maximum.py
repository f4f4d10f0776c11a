"""The maximum over maps that arrive a few at a time."""

from __future__ import annotations

import pytest
import torch

from semla_ros.modeling.base import UNDEFINED
from semla_ros.modeling.running_maximum import RunningMaximum

CPU = torch.device("cpu")


def maximum_of(*chunks: torch.Tensor) -> RunningMaximum:
    maximum = RunningMaximum((4, 6), CPU)
    for each in chunks:
        maximum.update(each)
    return maximum


@pytest.mark.parametrize("at_a_time", [1, 2, 3, 7])
def test_chunks_of_any_size_give_the_maximum_over_all_maps(at_a_time: int) -> None:
    maps = torch.rand(7, 4, 6, generator=torch.Generator().manual_seed(0))
    maximum = maximum_of(*maps.split(at_a_time))
    assert maximum.highest.equal(maps.amax(0))
    assert maximum.index.equal(maps.argmax(0))


def test_of_equal_maps_the_first_one_counts() -> None:
    assert maximum_of(*torch.full((3, 4, 6), 0.5).split(1)).index.eq(0).all()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_pixel_that_is_nan_in_any_map_is_undefined(place: int) -> None:
    maps = torch.full((3, 4, 6), 0.5)
    maps[place, 1, 2] = torch.nan
    highest, index = maximum_of(*maps.split(1)).defined()
    assert (highest[1, 2], index[1, 2]) == (0, UNDEFINED)
    assert index.eq(UNDEFINED).sum() == 1
    assert highest.sum() == 0.5 * 23


def test_without_maps_every_pixel_is_undefined() -> None:
    assert maximum_of().index.eq(UNDEFINED).all()
