"""Low-rank adapters: their fusion into a network's weights, and their training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


@dataclass(frozen=True)
class Adapter:
    """One LoRA adapter.

    Attributes:
        name: Its domain.
        factors: Module name to (A (r, in), B (out, r)), float32.
        scale: s = alpha / r.
    """

    name: str
    factors: Mapping[str, tuple[Tensor, Tensor]]
    scale: float

    @property
    def nbytes(self) -> int:
        """Memory of all factors, bytes."""
        return sum(a.nbytes + b.nbytes for a, b in self.factors.values())


class LoraFuser:
    """Fuses weighted adapters into a network in place: W = W₀ + Σ_i w_i s_i B_i A_i.

    The base weights are kept aside, so that fusing nothing restores them bit by bit and no error builds up.

    Args:
        layers: Module name to the linear layer whose weight is adapted.
    """

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        self.layers = dict(layers)
        self._base = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}

    @torch.no_grad()
    def apply(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
        """Makes the network the base plus this mixture, whatever was fused before."""
        for name, layer in self.layers.items():
            mix = [(a.factors[name], w * a.scale) for a, w in zip(adapters, weights, strict=True) if name in a.factors]
            base = self._base[name]
            if not mix:
                layer.weight.copy_(base)
                continue
            down = torch.cat([a for (a, _), _ in mix]).to(base)
            up = torch.cat([b * share for (_, b), share in mix], dim=1).to(base)
            torch.addmm(base, up, down, out=layer.weight.data)


class LowRank(nn.Module):
    """Weight parametrisation W + s B A with trainable A and B; B starts at zero."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter((torch.randn(rank, weight.shape[1]) * weight.shape[1] ** -0.5).to(weight))
        self.b = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight (out, in)."""
        return weight + self.scale * self.b @ self.a


def attach(layers: Mapping[str, nn.Linear], rank: int, alpha: float) -> dict[str, LowRank]:
    """Puts a fresh trainable adapter on every layer; the network then computes with adapted weights everywhere."""
    adapters = {name: LowRank(layer.weight, rank, alpha / rank) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", adapters[name])
    return adapters


def detach(layers: Mapping[str, nn.Linear]) -> None:
    """Takes the adapters off again; the layers hold their base weights."""
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
