"""Plain LoRA: a product of two small matrices is trained beside each weight (SemLA, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from semla_ros.errors import TrainingError
from semla_ros.modeling.lora import Adapter
from semla_ros.training.presets import Preset

M = TypeVar("M", bound=nn.Module)


class LowRank(nn.Module):
    """Weight parametrisation W + s B A with trainable factors. B starts at zero, so that training starts from W.

    Args:
        weight: Weight (out, in) that is adapted.
        rank: Rank r of the product.
        scale: s = alpha / r.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter((torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5).to(weight))
        self.b = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the adapted weight (out, in)."""
        return weight + self.scale * self.b @ self.a


class Lora:
    """Trains one `LowRank` per layer; the network keeps its own parameters.

    Args:
        network: Network that is adapted.
        layers: Module name to the linear layer that is adapted.
        preset: Rank and alpha.

    Raises:
        TrainingError: The rank is larger than that of any weight.
    """

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Linear], preset: Preset) -> None:
        largest = max(min(layer.weight.shape) for layer in layers.values())
        if preset.rank > largest:
            raise TrainingError("rank larger than that of any weight", got=preset.rank, expected=f"at most {largest}")
        network.requires_grad_(False)
        self.layers, self.scale = layers, preset.alpha / preset.rank
        self._low_rank = attach(layers, lambda weight: LowRank(weight, preset.rank, self.scale))

    @staticmethod
    def rank(preset: Preset) -> int:
        """Returns the rank of the adapters."""
        return preset.rank

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns the parameter groups of the optimiser with their base learning rates."""
        return [{"params": [p for module in self._low_rank.values() for p in (module.a, module.b)], "lr": lr}]

    def export(self, name: str) -> Adapter:
        """Returns the adapter with the present values, on the CPU."""
        factors = {key: (_copied(module.a), _copied(module.b)) for key, module in self._low_rank.items()}
        return Adapter(name, factors, self.scale)

    def detach(self) -> None:
        """Removes what the training added to the network; its weights are those of the base again."""
        detach(self.layers)


def attach(layers: Mapping[str, nn.Linear], make: Callable[[Tensor], M]) -> dict[str, M]:
    """Adds a new parametrisation to the weight of every layer; `detach` removes it.

    Args:
        layers: Module name to the layer.
        make: Called with a weight (out, in); returns its parametrisation.

    Returns:
        Module name to its parametrisation.
    """
    modules = {name: make(layer.weight) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", modules[name])
    return modules


def detach(layers: Mapping[str, nn.Linear]) -> None:
    """Removes the parametrisations that `attach` added; the layers have their base weights again."""
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def _copied(parameter: Tensor) -> Tensor:
    return parameter.detach().cpu().clone()
