from __future__ import annotations

import math

import pytest
import torch
from tiny import random_adapter, random_network

from semla_ros.library.comparison import compare
from semla_ros.modeling.lora import Adapter

NETWORK = random_network()
LAYERS = NETWORK.adapted_layers()
ONE, OTHER = random_adapter("one", NETWORK, rank=2, seed=1), random_adapter("other", NETWORK, rank=5, seed=2)


def change(adapter: Adapter, name: str) -> torch.Tensor:
    a, b = (each.double() for each in adapter.factors[name])
    return adapter.scale * b @ a


def test_the_figures_are_those_of_the_full_matrices() -> None:
    layers, total = compare(ONE, OTHER, LAYERS)
    assert [each.layer for each in layers] == list(LAYERS)
    for each in layers:
        first, second = change(ONE, each.layer), change(OTHER, each.layer)
        weight = LAYERS[each.layer].weight.double()
        assert each.first == pytest.approx(float(first.norm() / weight.norm()), rel=1e-6)
        assert each.second == pytest.approx(float(second.norm() / weight.norm()), rel=1e-6)
        assert each.cosine == pytest.approx(float((first * second).sum() / first.norm() / second.norm()), abs=1e-9)
    long = [torch.cat([change(adapter, name).flatten() for name in LAYERS]) for adapter in (ONE, OTHER)]
    weights = torch.cat([layer.weight.double().flatten() for layer in LAYERS.values()])
    assert total.first == pytest.approx(float(long[0].norm() / weights.norm()), rel=1e-6)
    assert total.cosine == pytest.approx(float(torch.cosine_similarity(*long, dim=0)), abs=1e-9)


def test_an_adapter_and_itself_point_the_same_way_and_its_negative_the_other_way() -> None:
    negative = Adapter("negative", {name: (a, -b) for name, (a, b) in ONE.factors.items()}, ONE.scale)
    assert {round(each.cosine, 9) for each in compare(ONE, ONE, LAYERS)[0]} == {1.0}
    assert {round(each.cosine, 9) for each in compare(ONE, negative, LAYERS)[0]} == {-1.0}


def test_the_difference_of_a_fully_fine_tuned_adapter_is_compared_like_the_same_low_rank_change() -> None:
    full = Adapter("full", {}, 1.0, {f"{name}.weight": change(OTHER, name).float() for name in LAYERS})
    expected, whole = compare(ONE, OTHER, LAYERS)
    for found, total in (compare(ONE, full, LAYERS), compare(full, ONE, LAYERS)):
        assert [each.cosine for each in found] == pytest.approx([each.cosine for each in expected], abs=1e-5)
        assert total.cosine == pytest.approx(whole.cosine, abs=1e-5)
    assert compare(full, full, LAYERS)[1].cosine == pytest.approx(1.0)


def test_only_layers_that_one_of_them_changes_are_compared() -> None:
    first, second, third = list(LAYERS)[:3]
    zero = {third: tuple(torch.zeros_like(each) for each in ONE.factors[third])}
    some = Adapter("some", {first: ONE.factors[first], **zero}, 1.0)  # type: ignore[arg-type]
    layers, total = compare(some, Adapter("none", {second: OTHER.factors[second]}, 1.0), LAYERS)
    assert [each.layer for each in layers] == [first, second]
    assert (layers[0].second, layers[1].first, total.cosine) == (0.0, 0.0, 0.0)
    assert math.isnan(layers[0].cosine)
