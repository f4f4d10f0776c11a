"""Full fine-tuning: every parameter is trained (the baseline of SemLA, Table 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from semla_ros.modeling.lora import Adapter
from semla_ros.training.presets import Preset


class FullFineTuning:
    """Trains all parameters of a network except embeddings of words, which the few prompts would distort.

    Args:
        network: Network that is adapted.
        layers: Not used: all parameters are trained, not those of the linear layers alone.
        preset: Not used: there is no rank.
    """

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Linear], preset: Preset) -> None:
        network.requires_grad_(True)
        for module in network.modules():
            if isinstance(module, nn.Embedding):
                module.requires_grad_(False)
        self.network = network
        self._trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._base = {name: p.detach().cpu().clone() for name, p in self._trained.items()}

    @staticmethod
    def rank(preset: Preset) -> int:
        """Returns 0: a weight difference has no rank."""
        return 0

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns the parameter group of the optimiser with its base learning rate."""
        return [{"params": list(self._trained.values()), "lr": lr}]

    def export(self, name: str) -> Adapter:
        """Returns the difference of the changed parameters from the base, on the CPU."""
        differences = {key: p.detach().cpu() - self._base[key] for key, p in self._trained.items()}
        return Adapter(name, {}, 1.0, {key: delta for key, delta in differences.items() if delta.any()})

    @torch.no_grad()
    def detach(self) -> None:
        """Restores the base weights."""
        for key, parameter in self._trained.items():
            parameter.copy_(self._base[key])
        self.network.requires_grad_(False)
