from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import random_adapter, random_network
from torch import Tensor

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import FusionError
from semla_ros.library.adapter_folder import AdapterFolder, save_adapter
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.lora import Adapter, LoraFuser

WEIGHTS = 0.6, 0.3, 0.1
STATISTICS = Statistics(np.zeros(8), {"euclidean": 1.0})


@pytest.fixture
def network() -> CatSeg:
    return random_network()


@pytest.fixture
def adapters(network: CatSeg) -> list[Adapter]:
    return [
        random_adapter(name, network, rank, seed) for seed, (name, rank) in enumerate([("a", 2), ("b", 4), ("c", 1)])
    ]


def weights(network: CatSeg) -> dict[str, Tensor]:
    return {name: layer.weight.detach().clone() for name, layer in network.adapted_layers().items()}


def logits(network: CatSeg) -> Tensor:
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        text = network.clip.encode_text(torch.tensor([[5, 7, 49407, *[0] * 13], [6, 49407, *[0] * 14]]))
        out: Tensor = network(torch.randn(1, 3, 32, 32, generator=draw), text)
    return out


def test_fused_weights_are_the_base_plus_the_weighted_products(network: CatSeg, adapters: list[Adapter]) -> None:
    base = weights(network)
    LoraFuser(network.adapted_layers()).apply(adapters, WEIGHTS)
    for name, fused in weights(network).items():
        exact = base[name].double()
        for adapter, weight in zip(adapters, WEIGHTS, strict=True):
            down, up = (factor.double() for factor in adapter.factors[name])
            exact = exact + weight * adapter.scale * up @ down
        assert (fused - exact).abs().max() < 1e-6
        assert (fused - base[name]).abs().max() > 1e-3


def test_fusing_nothing_restores_the_base_bit_by_bit(network: CatSeg, adapters: list[Adapter]) -> None:
    base = {key: value.clone() for key, value in network.state_dict().items()}
    fuser = LoraFuser(network.adapted_layers())
    for _ in range(3):
        fuser.apply(adapters, WEIGHTS)
        fuser.apply(adapters[:1], (1.0,))
    fuser.apply([], ())
    assert all(torch.equal(value, base[key]) for key, value in network.state_dict().items())


def test_a_mixture_does_not_depend_on_what_was_fused_before(network: CatSeg, adapters: list[Adapter]) -> None:
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply(adapters, WEIGHTS)
    direct = weights(network)
    fuser.apply(adapters[1:], (0.5, 0.5))
    fuser.apply(adapters, WEIGHTS)
    assert all(torch.equal(weight, direct[name]) for name, weight in weights(network).items())


def test_the_order_of_adapters_does_not_matter(network: CatSeg, adapters: list[Adapter]) -> None:
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply(adapters, WEIGHTS)
    forth = weights(network)
    fuser.apply(adapters[::-1], WEIGHTS[::-1])
    assert all(torch.allclose(weight, forth[name], atol=1e-6) for name, weight in weights(network).items())


def test_layers_that_no_adapter_names_keep_their_base(network: CatSeg, adapters: list[Adapter]) -> None:
    base, (chosen, *others) = weights(network), network.adapted_layers()
    partial = Adapter("partial", {chosen: adapters[0].factors[chosen]}, 2.0)
    LoraFuser(network.adapted_layers()).apply([partial], (1.0,))
    fused = weights(network)
    assert not torch.equal(fused[chosen], base[chosen])
    assert all(torch.equal(fused[name], base[name]) for name in others)


def test_a_weight_of_zero_adds_nothing(network: CatSeg, adapters: list[Adapter]) -> None:
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply(adapters[:1], (1.0,))
    alone = logits(network)
    fuser.apply(adapters[:2], (1.0, 0.0))
    assert torch.allclose(logits(network), alone, atol=1e-6)


# Errors in the middle of a fusion


def fail_at_call(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Makes the matrix products of fusion fail once, at a call of this number, with the weights half changed."""
    product, calls = torch.addmm, count(1)

    def addmm(*args: Any, **kwargs: Any) -> Tensor:
        if next(calls) == number:
            raise torch.OutOfMemoryError("out of memory")
        return product(*args, **kwargs)

    monkeypatch.setattr(torch, "addmm", addmm)


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize("previous", [(), (0, 1)])
def test_memory_that_runs_out_midway_leaves_the_previous_mixture(
    network: CatSeg, adapters: list[Adapter], monkeypatch: pytest.MonkeyPatch, previous: tuple[int, ...], number: int
) -> None:
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply([adapters[i] for i in previous], WEIGHTS[: len(previous)])
    before = weights(network)
    with monkeypatch.context() as broken:
        fail_at_call(broken, number)
        with pytest.raises(torch.OutOfMemoryError):
            fuser.apply(adapters[2:], (1.0,))
    assert all(torch.equal(weight, before[name]) for name, weight in weights(network).items())
    fuser.apply(adapters[2:], (1.0,))
    assert not any(torch.equal(weight, before[name]) for name, weight in weights(network).items())


def test_an_error_after_a_fusion_restores_the_previous_mixture(network: CatSeg, adapters: list[Adapter]) -> None:
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply(adapters[:1], (1.0,))
    before = weights(network)
    name = next(iter(before))

    def interrupted() -> None:
        with fuser.applied(adapters[1:], (0.5, 0.5)):
            assert not torch.equal(weights(network)[name], before[name])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(torch.equal(weight, before[name]) for name, weight in weights(network).items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_fused_weights_that_are_not_finite_are_refused(
    adapters: list[Adapter], dtype: torch.dtype, value: float
) -> None:
    network = random_network().to(dtype)
    fuser = LoraFuser(network.adapted_layers())
    fuser.apply(adapters[:1], (1.0,))
    before = weights(network)
    name, (down, up) = next(iter(adapters[1].factors.items()))
    wild = Adapter("wild", {name: (torch.full_like(down, value), torch.full_like(up, value))}, 1.0)
    with pytest.raises(FusionError, match="fused weights are not finite: got a, wild"):
        fuser.apply([adapters[0], wild], (0.9, 0.1))
    assert all(torch.equal(weight, before[name]) for name, weight in weights(network).items())


@pytest.mark.parametrize(("up", "down"), [(40_000.0, 1e-4), (1e-6, 70_000.0)])
def test_a_factor_that_overflows_in_half_precision_is_refused_though_the_product_is_small(
    adapters: list[Adapter], up: float, down: float
) -> None:
    network = random_network().to(torch.float16)
    before, fuser = weights(network), LoraFuser(network.adapted_layers())
    name, (a, b) = next(iter(adapters[0].factors.items()))
    wild = Adapter("wild", {name: (torch.full_like(a, down), torch.full_like(b, up))}, 2.0)
    with pytest.raises(FusionError, match="fused weights are not finite: got wild"):
        fuser.apply([wild], (1.0,))
    assert all(torch.equal(weight, before[name]) for name, weight in weights(network).items())


@pytest.fixture
def saved(tmp_path: Path, adapters: list[Adapter]) -> list[Path]:
    for adapter in adapters:
        save_adapter(adapter, STATISTICS, tmp_path, torch.float32)
    return [tmp_path / adapter.name for adapter in adapters]


def with_peft(network: CatSeg, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    peft = pytest.importorskip("peft")
    first, *others = folders
    model = peft.PeftModel.from_pretrained(network, first, adapter_name=first.name)
    for folder in others:
        model.load_adapter(folder, adapter_name=folder.name)
    return model


def merged_by_peft(model: Any, adapter: str) -> dict[str, Tensor]:
    modules = dict(model.base_model.model.named_modules())
    layers = {name: module for name, module in modules.items() if adapter in getattr(module, "lora_A", {})}
    return {n: (m.base_layer.weight + m.get_delta_weight(adapter)).detach() for n, m in layers.items()}


def test_peft_merges_our_adapter_to_the_same_weights(
    network: CatSeg, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = merged_by_peft(with_peft(random_network(), saved[:1], monkeypatch), "a")
    LoraFuser(network.adapted_layers()).apply([AdapterFolder(saved[0]).load()], (1.0,))
    ours = weights(network)
    assert theirs.keys() == ours.keys()
    assert all(torch.allclose(theirs[name], ours[name], atol=1e-6) for name in ours)


def test_a_mixture_equals_pefts_concatenation(
    network: CatSeg, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_peft(random_network(), saved, monkeypatch)
    model.add_weighted_adapter(["a", "b", "c"], list(WEIGHTS), "mixture", combination_type="cat")
    theirs = merged_by_peft(model, "mixture")
    LoraFuser(network.adapted_layers()).apply([AdapterFolder(folder).load() for folder in saved], WEIGHTS)
    ours = weights(network)
    assert theirs.keys() == ours.keys()
    assert all(torch.allclose(theirs[name], ours[name], atol=1e-6) for name in ours)


def test_a_network_with_a_mixture_merged_by_peft_computes_the_same_logits(
    network: CatSeg, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_peft(random_network(), saved, monkeypatch)
    model.add_weighted_adapter(["a", "b", "c"], list(WEIGHTS), "mixture", combination_type="cat")
    model.set_adapter("mixture")
    theirs = logits(model.merge_and_unload().eval())
    LoraFuser(network.adapted_layers()).apply([AdapterFolder(folder).load() for folder in saved], WEIGHTS)
    assert torch.allclose(logits(network), theirs, atol=1e-4)


# Weight differences of full fine-tuning


def difference_of(network: CatSeg, seed: int, strength: float = 0.05) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {name: strength * torch.randn(p.shape, generator=draw) for name, p in network.named_parameters()}


@pytest.fixture
def full(network: CatSeg) -> list[Adapter]:
    return [Adapter(name, {}, 1.0, difference_of(network, seed)) for seed, name in enumerate(("full_a", "full_b"))]


def state(network: CatSeg) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_differences_are_added_by_weight_beside_low_rank_products(
    network: CatSeg, adapters: list[Adapter], full: list[Adapter]
) -> None:
    base = state(network)
    LoraFuser(network.adapted_layers(), network).apply([adapters[0], *full], WEIGHTS)
    layers = network.adapted_layers()
    for name, fused in network.named_parameters():
        exact = base[name].double()
        for adapter, weight in zip(full, WEIGHTS[1:], strict=True):
            exact = exact + weight * adapter.difference[name].double()
        module = name.removesuffix(".weight")
        if module in layers:
            down, up = (factor.double() for factor in adapters[0].factors[module])
            exact = exact + WEIGHTS[0] * adapters[0].scale * up @ down
        assert (fused - exact).abs().max() < 1e-6, name


def test_fusing_nothing_after_differences_restores_every_parameter_bit_by_bit(
    network: CatSeg, adapters: list[Adapter], full: list[Adapter]
) -> None:
    base, fuser = state(network), LoraFuser(network.adapted_layers(), network)
    for mixture in ([*full], [adapters[0], full[0]], adapters[:2]):
        fuser.apply(mixture, WEIGHTS[: len(mixture)])
        assert not equal(state(network), base)
    fuser.apply([], ())
    assert equal(state(network), base)


def test_a_mixture_with_differences_does_not_depend_on_what_was_fused_before(
    network: CatSeg, adapters: list[Adapter], full: list[Adapter]
) -> None:
    fuser = LoraFuser(network.adapted_layers(), network)
    fuser.apply([adapters[0], full[0]], (0.5, 0.5))
    direct = state(network)
    fuser.apply(full, (0.3, 0.7))
    fuser.apply(adapters, WEIGHTS)
    fuser.apply([adapters[0], full[0]], (0.5, 0.5))
    assert equal(state(network), direct)


def test_an_error_after_a_fusion_of_differences_restores_the_previous_mixture(
    network: CatSeg, adapters: list[Adapter], full: list[Adapter]
) -> None:
    fuser = LoraFuser(network.adapted_layers(), network)
    fuser.apply([adapters[0], full[0]], (0.5, 0.5))
    before = state(network)

    def interrupted() -> None:
        with fuser.applied(full, (0.5, 0.5)):
            assert not equal(state(network), before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert equal(state(network), before)


@pytest.mark.parametrize("name", ["aggregator.conv1.bias", "aggregator.layers.0.attention.MLP.0.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_differences_that_make_weights_infinite_are_refused(network: CatSeg, name: str, value: float) -> None:
    fuser, before = LoraFuser(network.adapted_layers(), network), state(network)
    wild = Adapter("wild", {}, 1.0, {name: torch.full_like(network.state_dict()[name], value)})
    with pytest.raises(FusionError, match="fused weights are not finite: got wild"):
        fuser.apply([wild, wild], (0.9, 0.9))
    assert equal(state(network), before)


def test_a_difference_of_an_unknown_parameter_is_refused_before_anything_changes(
    network: CatSeg, full: list[Adapter]
) -> None:
    fuser = LoraFuser(network.adapted_layers(), network)
    fuser.apply(full[:1], (1.0,))
    before = state(network)
    with pytest.raises(FusionError, match=r"difference of another network: got nothing\.weight"):
        fuser.apply([Adapter("other", {}, 1.0, {"nothing.weight": torch.zeros(2)})], (1.0,))
    assert equal(state(network), before)


def test_adapters_without_differences_copy_no_further_parameters(network: CatSeg, adapters: list[Adapter]) -> None:
    fuser = LoraFuser(network.adapted_layers(), network)
    fuser.apply(adapters, WEIGHTS)
    assert fuser._others == {}
