"""Low-rank adapters (LoRA): their fusion into the weights of a network, and their training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def bounds(self) -> dict[str, float]:
        """Module name to s ‖B‖ ‖A‖ (Frobenius norms), which no element of s B A exceeds; NaN if a factor is."""
        norms = [a.norm(dtype=torch.float32) * b.norm(dtype=torch.float32) for a, b in self.factors.values()]
        values = torch.stack(norms).tolist() if norms else []
        return {name: abs(self.scale) * value for name, value in zip(self.factors, values, strict=True)}


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
        self._largest = {name: float(base.abs().max()) for name, base in self._base.items()}
        self._fused: dict[str, Product] = {}  # in the weights now; layers that keep their base are left out
        self._spare: dict[str, Product] = {}  # of the mixture before: fresh memory would take a fifth of the fusion

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

        Restoring allocates no memory, so that it succeeds even when memory has run out.
        """
        new: dict[str, Product] = {}
        try:
            for name in self.layers:
                product = self._product(name, adapters, weights)
                self._write(name, product)  # while the product is in the cache
                if product:
                    new[name] = product
            self._check_finite(adapters, weights)
            yield
        except BaseException:
            for name in self.layers:
                self._write(name, self._fused.get(name))
            raise
        self._spare, self._fused = self._fused, new

    def _product(self, name: str, adapters: Sequence[Adapter], weights: Sequence[float]) -> Product | None:
        """Concatenates the factors of all adapters along their rank, so that a layer needs one matrix product."""
        mix = [(a.factors[name], w * a.scale) for a, w in zip(adapters, weights, strict=True) if name in a.factors]
        if not mix:
            return None
        base, (up, down) = self._base[name], self._spare.get(name, (None, None))
        ups, downs = [(b * share).to(base) for (_, b), share in mix], [a.to(base) for (a, _), _ in mix]
        return _concatenated(ups, 1, up), _concatenated(downs, 0, down)

    def _write(self, name: str, product: Product | None) -> None:
        base, weight = self._base[name], self.layers[name].weight.data
        if product:
            torch.addmm(base, *product, out=weight)
        else:
            weight.copy_(base)

    def _check_finite(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
        """Reads only weights that may have overflowed: a pass over all weights would take a sixth of the fusion."""
        if all(self.layers[name].weight.isfinite().all() for name in self._unbounded(adapters, weights)):
            return
        raise FusionError(
            "fused weights are not finite", got=", ".join(adapter.name for adapter in adapters),
            hint="One of these adapters holds NaN, infinite or very large numbers.",
        )  # fmt: skip

    def _unbounded(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> list[str]:
        """Layers of which max|W₀| + Σ_i w_i s_i ‖B_i‖ ‖A_i‖, a bound of every partial sum, is too large or NaN."""
        bounds = dict(self._largest)
        for adapter, weight in zip(adapters, weights, strict=True):
            for name in adapter.bounds.keys() & bounds.keys():
                bounds[name] += abs(weight) * adapter.bounds[name]
        return [name for name, bound in bounds.items() if not bound < torch.finfo(self._base[name].dtype).max]


def _concatenated(parts: Sequence[Tensor], dim: int, spare: Tensor | None) -> Tensor:
    """Concatenates along a dimension, into the memory of ``spare`` if it has the right size."""
    size = list(parts[0].shape)
    size[dim] = sum(part.shape[dim] for part in parts)
    return torch.cat(list(parts), dim, out=spare if spare is not None and list(spare.shape) == size else None)


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
