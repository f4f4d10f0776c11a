"""Mixing as the official code does it: PEFT wraps the network and builds a weighted adapter for every image."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.lora import Adapter

NAME = "mixture"


class PeftPeer:
    """A network under PEFT, with all adapters loaded.

    Args:
        network: Network to wrap; it cannot be used otherwise afterwards.
        adapters: Adapters of the same rank and scale.
    """

    def __init__(self, network: CatSeg, adapters: Sequence[Adapter]) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import peft

        rank = next(iter(adapters[0].factors.values()))[0].shape[0]
        targets = sorted(adapters[0].factors)
        config = peft.LoraConfig(r=rank, lora_alpha=round(adapters[0].scale * rank), target_modules=targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that PEFT finds too short
            self.model: Any = peft.get_peft_model(network, config, adapter_name=adapters[0].name)
            for each in adapters[1:]:
                self.model.add_adapter(each.name, config)
        self.model.eval()
        for each in adapters:
            self._fill(each)

    @property
    def network(self) -> CatSeg:
        """The wrapped network."""
        wrapped: CatSeg = self.model.base_model.model
        return wrapped

    def add(self, mixture: Mixture) -> None:
        """Concatenates the adapters of the mixture into one."""
        self.model.add_weighted_adapter(list(mixture.names), list(mixture.weights), NAME, combination_type="cat")

    def activate(self) -> None:
        """Makes the concatenated adapter the active one."""
        self.model.set_adapter(NAME)

    def delete(self) -> None:
        """Deletes the concatenated adapter, as the official code does after every image."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.delete_adapter(NAME)

    @torch.no_grad()
    def _fill(self, adapter: Adapter) -> None:
        modules = dict(self.network.named_modules())
        for name, (down, up) in adapter.factors.items():
            wrapped: Any = modules[name]
            wrapped.lora_A[adapter.name].weight.copy_(down)
            wrapped.lora_B[adapter.name].weight.copy_(up)
