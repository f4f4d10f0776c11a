"""Reduces the rank of an adapter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.errors import TrainingError
from semla_ros.modeling.lora import Adapter


@torch.no_grad()
def of_rank(adapter: Adapter, rank: int) -> tuple[Adapter, float]:
    """Returns the nearest adapter of a smaller rank, by a singular value decomposition of each layer's product.

    Args:
        adapter: The adapter.
        rank: New rank, for every layer.

    Returns:
        The adapter, and the share of the change of all weights that is lost: ‖Σ B A - B' A'‖ / ‖Σ B A‖ (Frobenius).

    Raises:
        TrainingError: See `check_reducible`.
    """
    check_reducible(max((a.shape[0] for a, _ in adapter.factors.values()), default=0), rank)
    factors, kept, total = {}, 0.0, 0.0
    for name, (a, b) in adapter.factors.items():
        down, up, values = _truncated(a.double(), b.double(), rank)
        factors[name] = down.to(a), up.to(b)
        kept, total = kept + float(values[:rank].square().sum()), total + float(values.square().sum())
    error = max(0.0, 1 - kept / total) ** 0.5 if total else 0.0
    return Adapter(adapter.name, factors, adapter.scale), error


def check_reducible(rank: int, smaller: int) -> None:
    """Checks whether the rank of an adapter can be reduced.

    Args:
        rank: Rank of the adapter; 0 for a weight difference.
        smaller: New rank.

    Raises:
        TrainingError: The adapter has no factors, or no larger rank.
    """
    if not rank:
        raise TrainingError("--export-rank needs a LoRA", got="a weight difference", hint="Leave the option out.")
    if smaller >= rank:
        expected = f"less than the adapter's rank, {rank}"
        raise TrainingError("--export-rank too large", got=smaller, expected=expected)


def _truncated(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns A' (rank, in), B' (out, rank) and all singular values of B A, from the small factors alone."""
    left, upper = torch.linalg.qr(b)
    right, lower = torch.linalg.qr(a.T)
    u, values, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    root = values[:rank].sqrt()
    down, up = root[:, None] * (v[:rank] @ right.T), (left @ u[:, :rank]) * root
    missing = rank - len(root)  # a layer with fewer inputs or outputs than the rank: zeros fill up the factors
    return F.pad(down, (0, 0, 0, missing)), F.pad(up, (0, missing)), values
