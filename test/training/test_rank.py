from __future__ import annotations

import pytest
import torch
from tiny import random_adapter, random_network

from semla_ros.errors import TrainingError
from semla_ros.modeling.lora import Adapter
from semla_ros.training.rank import of_rank

NETWORK = random_network()


def change(adapter: Adapter, name: str) -> torch.Tensor:
    down, up = (factor.double() for factor in adapter.factors[name])
    return adapter.scale * up @ down


def test_the_smaller_rank_is_the_best_approximation_and_its_error_is_returned() -> None:
    adapter = random_adapter("fog", NETWORK, rank=6)
    reduced, error = of_rank(adapter, 3)
    lost = total = 0.0
    for name, (down, up) in reduced.factors.items():
        assert (down.shape[0], up.shape[1]) == (3, 3)
        exact = change(adapter, name)
        best = torch.linalg.svdvals(exact)[3:].square().sum()
        assert float((change(reduced, name) - exact).norm().square()) == pytest.approx(float(best), rel=1e-4, abs=1e-6)
        lost, total = lost + float(best), total + float(exact.square().sum())
    assert error == pytest.approx((lost / total) ** 0.5, rel=1e-4)
    assert 0.1 < error < 0.9


def test_a_rank_that_a_product_does_not_need_is_dropped_without_error() -> None:
    adapter = random_adapter("fog", NETWORK, rank=2)
    doubled = Adapter(
        "fog", {name: (torch.cat([a, a]), torch.cat([b, b], 1)) for name, (a, b) in adapter.factors.items()}, 1.0
    )
    reduced, error = of_rank(doubled, 2)
    assert error < 1e-3
    assert all(torch.allclose(change(reduced, name), change(doubled, name), atol=1e-5) for name in adapter.factors)


def test_layers_smaller_than_the_rank_are_filled_up_with_zeros() -> None:
    wide = Adapter("fog", {"layer": (torch.randn(12, 4), torch.randn(8, 12))}, 1.0)
    reduced, error = of_rank(wide, 6)
    assert [tuple(factor.shape) for factor in reduced.factors["layer"]] == [(6, 4), (8, 6)]
    assert error < 1e-6
    assert torch.allclose(change(reduced, "layer"), change(wide, "layer"), atol=1e-5)


@pytest.mark.parametrize("rank", [2, 4])
def test_a_rank_that_is_not_smaller_is_refused(rank: int) -> None:
    with pytest.raises(TrainingError, match=rf"too large: got {rank}, expected less than the adapter's rank, 2"):
        of_rank(random_adapter("fog", NETWORK, rank=2), rank)


def test_a_weight_difference_has_no_rank_to_reduce() -> None:
    with pytest.raises(TrainingError, match="needs a LoRA: got a weight difference"):
        of_rank(Adapter("fog", {}, 1.0, {"x": torch.ones(1)}), 4)
