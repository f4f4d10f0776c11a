"""The methods that train an adapter. To add one, write a class with these functions and name it in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import nn

from semla_ros.modeling.lora import Adapter
from semla_ros.training.full import FullFineTuning
from semla_ros.training.lora import Lora
from semla_ros.training.presets import Preset
from semla_ros.training.recyclelora import RecycleLora


class Method(Protocol):
    """What a method trains. Making one adds its trainable parameters to the network."""

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Linear], preset: Preset) -> None: ...

    @staticmethod
    def rank(preset: Preset) -> int:
        """Returns the rank of the adapters that `export` returns; 0 for weight differences."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns the parameter groups of the optimiser; ``lr`` is the base learning rate."""

    def export(self, name: str) -> Adapter:
        """Returns the adapter with the present values, on the CPU."""

    def detach(self) -> None:
        """Removes what the training added to the network; its weights are those of the base again."""


METHODS: dict[str, type[Method]] = {"lora": Lora, "recyclelora": RecycleLora, "full": FullFineTuning}
