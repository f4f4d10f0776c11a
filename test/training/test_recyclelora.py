"""RecycleLoRA, compared with numbers of the published layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from paths import PACKAGE
from tiny import random_network
from torch import Tensor, nn

from semla_ros.errors import TrainingError
from semla_ros.modeling.lora import LoraFuser
from semla_ros.training.lora import attach
from semla_ros.training.presets import PRESETS
from semla_ros.training.recyclelora import DualLowRank, RecycleLora, initial_factors

FILE = PACKAGE.parent / "test/data/parity/recyclelora_seed5.npz"
SHAPES = "tall", "wide", "square"
NAMES = "lora_A_main", "lora_B_main", "lora_A_sub", "lora_B_sub"


@pytest.fixture(params=SHAPES)
def golden(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    """Numbers of one weight: before and after twenty steps of gradient descent."""
    with np.load(FILE) as file:
        prefix = f"{request.param}."
        return {key.removeprefix(prefix): torch.from_numpy(file[key]) for key in file if key.startswith(prefix)}


def ranks(golden: dict[str, Tensor]) -> tuple[int, int]:
    return len(golden["init.lora_A_main"]), len(golden["init.lora_A_sub"])


def test_the_initial_factors_are_the_published_ones(golden: dict[str, Tensor]) -> None:
    for name, ours in zip(NAMES, initial_factors(golden["W0"], *ranks(golden)), strict=True):
        assert torch.allclose(ours, golden[f"init.{name}"], atol=1e-5), name


def test_the_residual_is_the_published_one(golden: dict[str, Tensor]) -> None:
    dual = DualLowRank(golden["W0"], *ranks(golden))
    residual = golden["W0"] - dual.scale * (dual.first_b @ dual.first_a)
    assert torch.allclose(residual, golden["W_res"], atol=1e-5)


def test_the_weight_is_unchanged_before_the_training(golden: dict[str, Tensor]) -> None:
    dual = DualLowRank(golden["W0"], *ranks(golden))
    assert torch.equal(dual(golden["W0"]), golden["W0"])
    assert torch.allclose(golden["x"] @ golden["W0"].T, golden["output_before"], atol=1e-5)


def test_twenty_steps_of_gradient_descent_give_the_published_values(golden: dict[str, Tensor]) -> None:
    weight = golden["W0"]
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).requires_grad_(False)
    layer.weight.data = weight.clone()
    dual = attach({"layer": layer}, lambda each: DualLowRank(each, *ranks(golden)))["layer"]
    groups = [
        {"params": [dual.a_main, dual.b_main], "lr": 2.0}, {"params": [dual.a_sub, dual.b_sub], "lr": 1.0},
    ]  # fmt: skip
    optimizer = torch.optim.SGD(groups)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(layer(golden["x"]), golden["y"]).backward()
        optimizer.step()
    for name, ours in zip(NAMES, (dual.a_main, dual.b_main, dual.a_sub, dual.b_sub), strict=True):
        assert torch.allclose(ours, golden[f"trained.{name}"], atol=1e-3), name
    assert torch.allclose(layer(golden["x"]), golden["output_after_20_sgd_steps"], atol=1e-3)
    a, b = dual.change()
    assert torch.allclose(dual.scale * b @ a, golden["delta"], atol=1e-3)
    assert golden["delta"].abs().max() > 0.01


def test_the_exported_adapter_changes_the_weights_as_the_training_did() -> None:
    network = random_network()
    layers = network.adapted_layers()
    base = {name: layer.weight.clone() for name, layer in layers.items()}
    method = RecycleLora(network, layers, PRESETS["small"])
    draw = torch.Generator().manual_seed(0)
    for group in method.groups(1.0):
        for parameter in group["params"]:
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
    trained = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    adapter = method.export("dual")
    method.detach()
    assert all(torch.equal(layer.weight, base[name]) for name, layer in layers.items())
    LoraFuser(layers).apply([adapter], (1.0,))
    for name, layer in layers.items():
        assert torch.allclose(layer.weight, trained[name], atol=1e-5)
        assert (layer.weight - base[name]).abs().max() > 1e-3
        assert adapter.factors[name][0].shape[0] == 16


def test_half_precision_loses_little_of_a_small_change() -> None:
    weight = torch.randn(24, 16, generator=torch.Generator().manual_seed(0))
    dual = DualLowRank(weight, 6, 2)
    for parameter in dual.parameters():
        parameter.data += 1e-4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    a, b = dual.change()
    exact, stored = b @ a, b.half().float() @ a.half().float()
    assert (stored - exact).norm() / exact.norm() < 2e-3


def test_plain_lora_of_the_same_rank_trains_as_many_parameters() -> None:
    counts = []
    for rank in (2, 5):
        network = random_network()
        method = RecycleLora(network, network.adapted_layers(), PRESETS["small"].changed(rank=rank, sub_rank=1))
        counts.append(sum(p.numel() for group in method.groups(1.0) for p in group["params"]))
    sides = sum(sum(layer.weight.shape) for layer in random_network().adapted_layers().values())
    assert counts == [2 * sides, 5 * sides]


def test_ranks_beyond_the_directions_of_a_weight_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"rank too large.*\(24, 16\).*got 15 \+ 2, expected at most 16.*--rank"):
        initial_factors(torch.randn(24, 16), 15, 2)


def test_the_parity_file_is_small() -> None:
    assert Path(FILE).stat().st_size < 60_000
