"""The methods that train an adapter. To add one, write a class with these functions and name it in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn

from semla_ros.modeling.lora import Adapter
from semla_ros.training.full import FullFineTuning
from semla_ros.training.lora import Lora
from semla_ros.training.presets import Preset
from semla_ros.training.recyclelora import RecycleLora


class Method(Protocol):
    """What a method trains. Making one adds its trainable parameters to the network."""

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Returns the parameter groups of the optimiser; ``lr`` is the peak learning rate."""

    def export(self, name: str) -> Adapter:
        """Returns the adapter with the present values, on the CPU."""

    def detach(self) -> None:
        """Removes what the training added to the network; its weights are those of the base again."""


METHODS: dict[str, Callable[[nn.Module, Mapping[str, nn.Linear], Preset], Method]] = {
    "lora": Lora, "recyclelora": RecycleLora, "full": FullFineTuning,
}  # fmt: skip
