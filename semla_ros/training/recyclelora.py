"""RecycleLoRA: two adapters per weight, which start from directions of the weight itself (CVPR 2026 Findings).

A column-pivoted QR decomposition orders the directions of a weight by importance. The sub adapter starts from the most
important ones and learns slowly; the main adapter starts from the least important ones. The change of the weight is
exported as a plain LoRA of twice the rank, so that neither PEFT nor the fusion need to know of the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.linalg import qr
from torch import Tensor, nn

from semla_ros.errors import TrainingError
from semla_ros.modeling.lora import Adapter
from semla_ros.training.lora import attach, detach
from semla_ros.training.presets import Preset

ALPHA = 1.0  # as published
SUB_RATE = 0.5  # learning rate of the sub adapter, as a share of the main adapter's


def initial_factors(weight: Tensor, r_main: int, r_sub: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the factors that the adapters of a weight start from.

    With W P = Q R (column-pivoted QR) and n = min(out, in), the sub adapter takes the first columns of Q and the first
    pivots, the main adapter the last ones. Each row of A selects one input.

    Args:
        weight: Weight W (out, in).
        r_main: Rank of the main adapter.
        r_sub: Rank of the sub adapter.

    Returns:
        A_main (r_main, in), B_main (out, r_main), A_sub (r_sub, in) and B_sub (out, r_sub).

    Raises:
        TrainingError: The ranks together exceed the number of directions n.
    """
    count = min(weight.shape)
    if r_main + r_sub > count:
        raise TrainingError(
            "rank too large for a layer", where=f"weight {tuple(weight.shape)}", got=f"{r_main} + {r_sub}",
            expected=f"at most {count} together", hint="Choose a smaller --rank.",
        )  # fmt: skip
    values = weight.detach().cpu().to(torch.promote_types(weight.dtype, torch.float32))
    q, _, pivots = qr(values.numpy(), mode="economic", pivoting=True)
    directions, selected = torch.from_numpy(q).to(weight), torch.eye(weight.shape[1])[torch.from_numpy(pivots).long()]
    selected = selected.to(weight)
    main, sub = slice(count - r_main, count), slice(0, r_sub)
    return selected[main], directions[:, main].clone(), selected[sub], directions[:, sub].clone()


class DualLowRank(nn.Module):
    """Weight parametrisation W + s (B A - B₀ A₀) of both adapters together, r = r_main + r_sub.

    This equals W_res + s B A with the residual W_res = W - s B₀ A₀. It is computed as
    W + s ((B - B₀) A + B₀ (A - A₀)), which is exactly W at the start and loses no digits when stored in half precision.

    Args:
        weight: Weight (out, in) that is adapted.
        r_main: Rank of the main adapter.
        r_sub: Rank of the sub adapter.
    """

    first_a: Tensor
    first_b: Tensor

    def __init__(self, weight: Tensor, r_main: int, r_sub: int) -> None:
        super().__init__()
        self.scale = ALPHA / (r_main + r_sub)
        factors = initial_factors(weight, r_main, r_sub)
        self.a_main, self.b_main, self.a_sub, self.b_sub = (nn.Parameter(each.clone()) for each in factors)
        self.register_buffer("first_a", self.a.detach().clone(), persistent=False)
        self.register_buffer("first_b", self.b.detach().clone(), persistent=False)

    @property
    def a(self) -> Tensor:
        """Factor A (r, in) of both adapters."""
        return torch.cat([self.a_main, self.a_sub])

    @property
    def b(self) -> Tensor:
        """Factor B (out, r) of both adapters."""
        return torch.cat([self.b_main, self.b_sub], 1)

    def change(self) -> tuple[Tensor, Tensor]:
        """Returns the factors A' (2r, in) and B' (out, 2r) of the change of the weight, which is s B' A'."""
        a, b = self.a, self.b
        return torch.cat([a, a - self.first_a]), torch.cat([b - self.first_b, self.first_b], 1)

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the adapted weight (out, in)."""
        a, b = self.change()
        return weight + self.scale * b @ a


class RecycleLora:
    """Trains one `DualLowRank` per layer; the network keeps its own parameters.

    Args:
        network: Network that is adapted.
        layers: Module name to the linear layer that is adapted.
        preset: Rank of both adapters together, and rank of the sub adapter.

    Raises:
        TrainingError: The rank is too large for a layer.
    """

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Linear], preset: Preset) -> None:
        network.requires_grad_(False)
        self.layers = layers
        r_main = preset.rank - preset.sub_rank
        self._dual = attach(layers, lambda weight: DualLowRank(weight, r_main, preset.sub_rank))

    @staticmethod
    def rank(preset: Preset) -> int:
        """Returns the rank of the adapters as they are stored, with the change of both factors."""
        return 2 * preset.rank

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns the parameter groups of the optimiser: the main adapters, and the sub adapters at half the rate."""
        main = [p for module in self._dual.values() for p in (module.a_main, module.b_main)]
        sub = [p for module in self._dual.values() for p in (module.a_sub, module.b_sub)]
        return [{"params": main, "lr": lr}, {"params": sub, "lr": SUB_RATE * lr}]

    @torch.no_grad()
    def export(self, name: str) -> Adapter:
        """Returns the change of the weights as a plain LoRA of rank 2r, on the CPU."""
        changes = {key: module.change() for key, module in self._dual.items()}
        factors = {key: (a.cpu().clone(), b.cpu().clone()) for key, (a, b) in changes.items()}
        return Adapter(name, factors, next(iter(self._dual.values())).scale)

    def detach(self) -> None:
        """Removes what the training added to the network; its weights are those of the base again."""
        detach(self.layers)
