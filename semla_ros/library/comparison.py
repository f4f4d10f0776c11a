"""What two adapters change, layer by layer, computed from their small factors alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.lora import Adapter

Change = tuple[Tensor | None, Tensor]
Products = NDArray[np.float64]  # ⟨Δ₁, Δ₁⟩, ⟨Δ₂, Δ₂⟩, ⟨Δ₁, Δ₂⟩ and ⟨W, W⟩ of the changes Δ to a weight W


@dataclass(frozen=True)
class LayerComparison:
    """What two adapters change in one layer.

    Attributes:
        layer: Module name.
        first: Size of the first adapter's change relative to the base weights, ‖s B A‖ / ‖W‖ (Frobenius norms). The
            difference of a fully fine-tuned adapter takes the place of s B A.
        second: The same of the second adapter.
        cosine: Cosine between the two changes, -1 to 1; NaN if one of them is zero.
    """

    layer: str
    first: float
    second: float
    cosine: float


def compare(
    first: Adapter, second: Adapter, layers: Mapping[str, nn.Linear]
) -> tuple[list[LayerComparison], LayerComparison]:
    """Compares two adapters in every layer that one of them changes.

    Args:
        first: The first adapter.
        second: The second adapter; its rank may differ.
        layers: Layers of the base model that are compared, by module name.

    Returns:
        One comparison per layer, in the order of ``layers``; and one of all layers together, as if the weights of the
        base model were one long vector.
    """
    products = {name: _products(name, first, second, layer.weight.detach()) for name, layer in layers.items()}
    changed = [_comparison(name, each) for name, each in products.items() if each[0] or each[1]]
    return changed, _comparison("all layers", np.sum(list(products.values()), axis=0))


def _products(name: str, first: Adapter, second: Adapter, weight: Tensor) -> Products:
    one, other = _changes(name, first), _changes(name, second)
    pairs = (one, one), (other, other), (one, other)
    changes = [sum(_inner(x, y) for x in each for y in another) for each, another in pairs]
    return np.array([*changes, float(weight.double().square().sum())])


def _changes(name: str, adapter: Adapter) -> list[Change]:
    """What an adapter adds to a weight, one product per part: A (r, in) and s B (out, r); None and Δ (out, in)."""
    delta = adapter.difference.get(f"{name}.weight")
    full: list[Change] = [] if delta is None else [(None, delta.double())]
    if name not in adapter.factors:
        return full
    down, up = adapter.factors[name]
    return [(down.double(), adapter.scale * up.double()), *full]


def _inner(one: Change, other: Change) -> float:
    """Inner product of B₁A₁ and B₂A₂: the sum of (B₁ᵀB₂) ∘ (A₁A₂ᵀ), matrices of the size of the ranks."""
    (a1, b1), (a2, b2) = one, other
    if a1 is None and a2 is None:
        return float((b1 * b2).sum())
    if a1 is None:
        return _inner(other, one)
    return float((b1 * (b2 @ a1.T)).sum() if a2 is None else ((b1.T @ b2) * (a1 @ a2.T)).sum())


def _comparison(layer: str, products: Products) -> LayerComparison:
    first, second, base = (math.sqrt(max(products[i], 0.0)) for i in (0, 1, 3))
    cosine = float(np.clip(products[2] / (first * second), -1, 1)) if first * second > 0 else math.nan
    return LayerComparison(layer, _ratio(first, base), _ratio(second, base), cosine)


def _ratio(change: float, base: float) -> float:
    return change / base if base else (math.inf if change else 0.0)
