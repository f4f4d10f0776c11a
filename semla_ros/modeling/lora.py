"""Adapters, most of them low-rank (LoRA), and their fusion into the weights of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from semla_ros.errors import FusionError


@dataclass(frozen=True)
class Adapter:
    """One adapter: what it adds to the weights of a network. LoRA adds s B A, full fine-tuning adds a difference.

    Attributes:
        name: Name of the domain that it was trained on.
        factors: Module name to the factors A (r, in) and B (out, r).
        scale: s = alpha / r.
        difference: Parameter name to the difference Δ from the base; empty for LoRA.
    """

    name: str
    factors: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    difference: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory of all tensors, bytes."""
        factors = sum(a.nbytes + b.nbytes for a, b in self.factors.values())
        return factors + sum(delta.nbytes for delta in self.difference.values())

    @cached_property
    def norms(self) -> dict[str, tuple[float, float]]:
        """Module name to the Frobenius norms s ‖B‖ and ‖A‖. No element of s B A exceeds their product."""
        factors = [factor.norm(dtype=torch.float32) for pair in self.factors.values() for factor in pair]
        values = torch.stack(factors).tolist() if factors else []
        pairs = zip(values[1::2], values[::2], strict=True)
        return {name: (abs(self.scale) * up, down) for name, (up, down) in zip(self.factors, pairs, strict=True)}


Product = tuple[Tensor, Tensor]  # up (out, R) and down (R, in): what a mixture adds to one weight is up @ down
Difference = tuple[Mapping[str, Tensor], float]  # an adapter's difference and its weight in the mixture


class LoraFuser:
    """Fuses weighted adapters into a network in place: W = W₀ + Σ_i w_i s_i B_i A_i (SemLA, 3.3) + Σ_i w_i Δ_i.

    The differences Δ_i are those of fully fine-tuned adapters (SemLA, Table 6); they may change any parameter. A copy
    of the base weights W₀ is kept. Fusing no adapters restores them bit by bit, and rounding errors do not accumulate
    over many swaps.

    Args:
        layers: Module name to the linear layer whose weight low-rank adapters change.
        network: Network that the layers belong to. Without it, differences may change the weights of the layers only.
    """

    def __init__(self, layers: Mapping[str, nn.Linear], network: nn.Module | None = None) -> None:
        self.layers = dict(layers)
        weights = {f"{name}.weight": layer.weight for name, layer in self.layers.items()}
        self._parameters = weights if network is None else dict(network.named_parameters())
        self._others: dict[str, Tensor] = {}  # base of the parameters that only differences change, once one is fused
        self._differences: list[Difference] = []  # in the weights now
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
        differences = [(a.difference, w) for a, w in zip(adapters, weights, strict=True) if a.difference]
        self._keep_base(differences)
        try:
            for name in self.layers:
                product = self._product(name, adapters, weights)
                self._write(name, product)  # while the product is in the cache
                if product:
                    new[name] = product
            self._add(differences)
            self._check_finite(adapters, weights)
            yield
        except BaseException:
            for name in self.layers:
                self._write(name, self._fused.get(name))
            self._add(self._differences)
            raise
        self._spare, self._fused, self._differences = self._fused, new, differences

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

    def _keep_base(self, differences: Sequence[Difference]) -> None:
        """Copies the base of further parameters before a difference changes them for the first time."""
        names = {name for difference, _ in differences for name in difference}
        if unknown := sorted(names - self._parameters.keys()):
            raise FusionError("difference of another network", got=unknown[0], expected="a parameter of the segmenter")
        for name in names - self._others.keys():
            if name.removesuffix(".weight") not in self.layers:
                self._others[name] = self._parameters[name].detach().clone()

    def _add(self, differences: Sequence[Difference]) -> None:
        """Adds differences to the weights of the layers as they are, and to the base of the other parameters."""
        for name, base in self._others.items():
            self._parameters[name].data.copy_(base)
        for difference, weight in differences:
            for name, delta in difference.items():
                self._parameters[name].data.add_(delta, alpha=weight)

    def _check_finite(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> None:
        """Reads only weights that may have overflowed: a pass over all weights would take a sixth of the fusion."""
        changed = {name for adapter in adapters for name in adapter.difference}
        suspects = [self.layers[name].weight for name in self._unbounded(adapters, weights)]
        if all(each.isfinite().all() for each in [*suspects, *(self._parameters[name] for name in changed)]):
            return
        raise FusionError(
            "fused weights are not finite", got=", ".join(adapter.name for adapter in adapters),
            hint="One of these adapters holds NaN, infinite or very large numbers.",
        )  # fmt: skip

    def _unbounded(self, adapters: Sequence[Adapter], weights: Sequence[float]) -> list[str]:
        """Layers of which max|W₀| + Σ_i (1 + w_i s_i ‖B_i‖) (1 + ‖A_i‖) is too large or NaN.

        It is a bound of every factor, as it is converted to the type of the weights, and of every partial sum.
        """
        bounds = dict(self._largest)
        for adapter, weight in zip(adapters, weights, strict=True):
            for name in adapter.norms.keys() & bounds.keys():
                up, down = adapter.norms[name]
                bounds[name] += (1 + abs(weight) * up) * (1 + down)
        return [name for name, bound in bounds.items() if not bound < torch.finfo(self._base[name].dtype).max]


def _concatenated(parts: Sequence[Tensor], dim: int, spare: Tensor | None) -> Tensor:
    """Concatenates along a dimension, into the memory of ``spare`` if it has the right size."""
    size = list(parts[0].shape)
    size[dim] = sum(part.shape[dim] for part in parts)
    return torch.cat(list(parts), dim, out=spare if spare is not None and list(spare.shape) == size else None)
