"""The best state of a training, and the end of a training that improves no more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Validation:
    """How a training is validated.

    Attributes:
        score: Returns the mIoU of the present weights on held-out images, percent; NaN without any evaluated pixel.
        every: Number of steps between two validations.
        patience: The training ends early after so many validations in a row without improvement; those during the
            warm-up do not count. 0 never ends it.
    """

    score: Callable[[], float]
    every: int
    patience: int = 0


class Best:
    """Keeps the trained values with the highest mIoU.

    Args:
        trained: Parameter name to the parameter that is trained.
        patience: See `Validation`.
        warmup: Number of steps in which no validation counts for the patience.

    Attributes:
        before: mIoU before the training, percent; NaN if unknown.
        miou: Highest mIoU during the training, percent; NaN before the first validation.
        step: Number of finished steps when it was reached.
        latest: mIoU of the last validation, percent; None before the first one.
    """

    def __init__(self, trained: Mapping[str, Tensor], patience: int = 0, warmup: int = 0) -> None:
        self.trained, self.patience, self.warmup = trained, patience, warmup
        self.before = self.miou = float("nan")
        self.step = 0
        self.latest: float | None = None
        self._since = 0  # validations without improvement
        self._values: dict[str, Tensor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether the training is to end early."""
        return 0 < self.patience <= self._since

    def add(self, step: int, miou: float) -> None:
        """Adds a validation after ``step`` finished steps."""
        self.latest, self._since = miou, self._since + (step > self.warmup)
        if not self._values or miou > self.miou:
            self.miou, self.step, self._since = miou, step, 0
            self._values = {name: parameter.detach().clone() for name, parameter in self.trained.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Copies the best values into the parameters; without a validation, the last ones stay."""
        for name, value in self._values.items():
            self.trained[name].copy_(value)  # to the parameter's device

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a resumed training needs."""
        return {
            "before": self.before, "miou": self.miou, "step": self.step, "latest": self.latest, "since": self._since,
            "values": self._values,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            KeyError: An entry is missing.
        """
        self.before, self.miou, self.step = state["before"], state["miou"], state["step"]
        self.latest, self._since, self._values = state["latest"], state["since"], dict(state["values"])
