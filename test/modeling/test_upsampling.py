from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import ARCH, random_network
from torch import Tensor

from semla_ros.bench.reference import reference_logits
from semla_ros.errors import BundleError
from semla_ros.modeling.catseg.architecture import VIT_B16
from semla_ros.modeling.catseg.upsampling import GuidedUpsampling

FINE = replace(ARCH, upsampling=2)


def inputs(classes: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(classes)
    return torch.randn(2, 3, 32, 32, generator=draw), F.normalize(torch.randn(classes, 16, generator=draw), dim=1)


def stripes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 32, 32) of thin vertical bars, and their places (count, 1, 32, 32), 0 or 1."""
    bars = (torch.rand(count, 1, 1, 32, generator=torch.Generator().manual_seed(seed)) < 0.15).float()
    bars = bars.expand(-1, -1, 32, -1)
    return bars.expand(-1, 3, -1, -1), bars


def test_logits_have_the_enlarged_size_and_those_of_the_reference() -> None:
    network = random_network(FINE)
    pixels, text = inputs(3)
    logits = network(pixels, text)
    assert logits.shape[2:] == (FINE.out_grid, FINE.out_grid) == (32, 32)
    assert torch.allclose(logits, reference_logits(network, pixels, text), atol=1e-4)


def test_more_classes_than_are_aggregated_are_enlarged_too() -> None:
    pixels, text = inputs(FINE.padded_classes + 2)
    logits = random_network(FINE)(pixels, text)
    assert (logits.amax((2, 3)) < -99).sum() == 2 * len(pixels)


def test_every_logit_lies_between_those_of_the_nearest_cells() -> None:
    upsampling = GuidedUpsampling(FINE)
    logits = torch.randn(1, 2, 16, 16)
    fine = upsampling(logits, torch.randn(1, 3, 32, 32), torch.randn(1, 8, 16, 16))
    padded = F.pad(logits, (1, 1, 1, 1), mode="replicate")
    highest = F.interpolate(F.max_pool2d(padded, 3, 1), scale_factor=2)
    lowest = F.interpolate(-F.max_pool2d(-padded, 3, 1), scale_factor=2)
    assert (fine <= highest + 1e-5).all()
    assert (fine >= lowest - 1e-5).all()


def test_bars_that_are_thinner_than_a_cell_are_found_where_bilinear_upsampling_blurs_them() -> None:
    torch.manual_seed(0)
    upsampling = GuidedUpsampling(FINE)
    optimizer = torch.optim.Adam(upsampling.parameters(), 1e-2)

    def error(seed: int, bilinear: bool = False) -> Tensor:
        pixels, bars = stripes(8, seed)
        coarse = 8 * F.max_pool2d(bars, 2) - 4  # a cell says whether it holds a bar anywhere
        if bilinear:
            logits = F.interpolate(coarse, (32, 32), mode="bilinear")
        else:
            logits = upsampling(coarse, pixels, torch.zeros(8, 8, 16, 16))
        return F.binary_cross_entropy_with_logits(logits, bars)

    for step in range(100):
        optimizer.zero_grad()
        error(step + 1).backward()
        optimizer.step()
    assert error(0).item() < 0.6 * error(0, bilinear=True).item()


def test_every_linear_layer_of_the_upsampling_can_be_adapted() -> None:
    names = {name for name in random_network(FINE).adapted_layers() if name.startswith("upsampling.")}
    assert names == {f"upsampling.{name}" for name in ("pixels", "fc1", "fc2", "context")}


def test_published_networks_have_no_guided_upsampling() -> None:
    assert VIT_B16.upsampling == 1
    assert not [name for name in random_network().state_dict() if name.startswith("upsampling.")]


def test_a_factor_that_does_not_divide_the_patches_is_refused() -> None:
    with pytest.raises(BundleError, match=r"upsampling.*got 3, expected 1, or a quarter of patch_size"):
        replace(ARCH, upsampling=3)
