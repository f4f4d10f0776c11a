"""What two adapters change, layer by layer, computed from their small factors where they have them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.lora import Adapter

Products = NDArray[np.float64]  # ⟨Δ₁, Δ₁⟩, ⟨Δ₂, Δ₂⟩, ⟨Δ₁, Δ₂⟩ and ⟨W, W⟩ of the changes Δ = s B A to a weight W


@dataclass(frozen=True)
class LayerComparison:
    """What two adapters change in one layer.

    Attributes:
        layer: Module name.
        first: Size of the first adapter's change relative to the base weights, ‖s B A‖ / ‖W‖ (Frobenius norms).
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

    What a fully fine-tuned adapter changes beside the weights of these layers is not compared.

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
    if any(f"{name}.weight" in each.difference for each in (first, second)):
        d1, d2, w = (each.double() for each in (_change(name, first, weight), _change(name, second, weight), weight))
        return np.array([float((x * y).sum()) for x, y in ((d1, d1), (d2, d2), (d1, d2), (w, w))])
    one, other, s1, s2 = first.factors.get(name), second.factors.get(name), first.scale, second.scale
    squares = s1 * s1 * _inner(one, one), s2 * s2 * _inner(other, other)
    return np.array([*squares, s1 * s2 * _inner(one, other), float(weight.double().square().sum())])


def _change(name: str, adapter: Adapter, weight: Tensor) -> Tensor:
    """The whole change of a weight (out, in)."""
    total = adapter.difference.get(f"{name}.weight", torch.zeros_like(weight))
    if name not in adapter.factors:
        return total
    down, up = adapter.factors[name]
    return total + adapter.scale * up @ down


def _inner(one: tuple[Tensor, Tensor] | None, other: tuple[Tensor, Tensor] | None) -> float:
    """Inner product of B₁A₁ and B₂A₂: the sum of (B₁ᵀB₂) ∘ (A₁A₂ᵀ), two matrices of the size of the ranks."""
    if one is None or other is None:
        return 0.0
    (a1, b1), (a2, b2) = ((a.double(), b.double()) for a, b in (one, other))
    return float(((b1.T @ b2) * (a1 @ a2.T)).sum())


def _comparison(layer: str, products: Products) -> LayerComparison:
    first, second, base = (math.sqrt(max(products[i], 0.0)) for i in (0, 1, 3))
    cosine = float(np.clip(products[2] / (first * second), -1, 1)) if first * second > 0 else math.nan
    return LayerComparison(layer, _ratio(first, base), _ratio(second, base), cosine)


def _ratio(change: float, base: float) -> float:
    return change / base if base else (math.inf if change else 0.0)
