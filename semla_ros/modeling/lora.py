"""Low-rank adapters (LoRA): their fusion into the weights of a network, and their training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from semla_ros.errors import FusionError


@dataclass(frozen=True)
class Adapter:
    """One LoRA adapter.

    Attributes:
        name: Name of the domain that it was trained on.
        factors: Module name to the factors A (r, in) and B (out, r).
        scale: s = alpha / r.
    """

    name: str
    factors: Mapping[str, tuple[Tensor, Tensor]]
    scale: float

    @property
    def nbytes(self) -> int:
        """Memory of all factors, bytes."""
        return sum(a.nbytes + b.nbytes for a, b in self.factors.values())


Product = tuple[Tensor, Tensor]  # up (out, R) and down (R, in): what a mixture adds to one weight is up @ down


class LoraFuser:
    """Fuses weighted adapters into the weights of a network in place: W = W₀ + Σ_i w_i s_i B_i A_i (SemLA, 3.3).

    A copy of the base weights W₀ is kept. Fusing no adapters restores them bit by bit, and rounding errors do not
    accumulate over many swaps.

    Args:
        layers: Module name to the linear layer whose weight is adapted.
    """

    def __init__(self, layers: Mapping[str, nn.Linear]) -> None:
        self.layers = dict(layers)
        self._base = {name: layer.weight.detach().clone() for name, layer in self.layers.items()}
        self._fused: dict[str, Product] = {}  # in the weights now; layers that keep their base are left out

    def apply(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
        """Replaces the mixture in the weights; on any error the network keeps the one that it has.

        Args:
            adapters: Adapters to fuse; none of them restores the base weights.
            weights: One weight per adapter.

        Raises:
            FusionError: The fused weights are not finite.
        """
        with self.applied(adapters, weights):
            pass

    @contextmanager
    @torch.no_grad()
    def applied(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> Iterator[None]:
        """Like `apply`, and restores the previous mixture, too, if the body of the ``with`` statement raises.

        Memory is allocated before the first weight changes. Restoring allocates none, so that it succeeds even when
        memory has run out.
        """
        new = self._products(adapters, weights)
        try:
            self._write(new)
            self._check_finite(adapters)
            yield
        except BaseException:
            self._write(self._fused)
            raise
        self._fused = new

    def _products(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> dict[str, Product]:
        """Concatenates the factors of all adapters along their rank, so that each layer needs one matrix product."""
        products = {}
        for name, base in self._base.items():
            mix = [(a.factors[name], w * a.scale) for a, w in zip(adapters, weights, strict=True) if name in a.factors]
            if mix:
                down = torch.cat([a for (a, _), _ in mix]).to(base)
                up = torch.cat([b * share for (_, b), share in mix], dim=1).to(base)
                products[name] = up, down
        return products

    def _write(self, products: Mapping[str, Product]) -> None:
        for name, layer in self.layers.items():
            if name in products:
                torch.addmm(self._base[name], *products[name], out=layer.weight.data)
            else:
                layer.weight.data.copy_(self._base[name])

    def _check_finite(self, adapters: Sequence[Adapter]) -> None:
        """A sum is infinite or NaN if one of its terms is; it reads each weight once and allocates nothing of size."""
        if not adapters or not self.layers:
            return
        sums = [layer.weight.detach().sum(dtype=torch.float32) for layer in self.layers.values()]
        if not torch.stack(sums).isfinite().all():
            raise FusionError(
                "fused weights are not finite", got=", ".join(adapter.name for adapter in adapters),
                hint="One of these adapters holds NaN, infinite or very large numbers.",
            )  # fmt: skip


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


def attach(layers: Mapping[str, nn.Linear], rank: int, alpha: float) -> dict[str, LowRank]:
    """Adds a new trainable adapter to every layer; `detach` removes it.

    Args:
        layers: Module name to the layer that is adapted.
        rank: Rank r of every adapter.
        alpha: The adapters are scaled by alpha / r.

    Returns:
        Module name to its trainable factors.
    """
    adapters = {name: LowRank(layer.weight, rank, alpha / rank) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", adapters[name])
    return adapters


def detach(layers: Mapping[str, nn.Linear]) -> None:
    """Removes the adapters that `attach` added; the layers have their base weights again."""
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
