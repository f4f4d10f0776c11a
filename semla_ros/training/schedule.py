"""Length, batch size and learning rates of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

POWER = 0.9  # of the polynomial decay


@dataclass(frozen=True)
class Schedule:
    """Length, batch size and learning rates of a training with AdamW.

    Attributes:
        steps: Number of optimiser steps.
        batch: Number of samples per step, over all processes.
        lr: Base learning rate. Each step multiplies it by the warm-up and by the decay. The decay begins with the first
            step, as in detectron2, so that a cosine with a long warm-up never reaches it, see `peak`.
        warmup: Number of steps in which the factor of the warm-up rises linearly to 1.
        weight_decay: Weight decay of AdamW.
        warmup_factor: Factor that the warm-up begins with, 0 to 1.
        decay: "cosine" falls along half a cosine, "poly" as (1 - step / steps) to the power of 0.9.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 50
    weight_decay: float = 0.05
    warmup_factor: float = 0.0
    decay: Literal["cosine", "poly"] = "cosine"

    def changed(self, steps: int = 0, batch: int = 0, lr: float = 0) -> Schedule:
        """Returns the schedule with other values; 0 keeps a value. The warm-up changes in proportion to the steps."""
        warmup = round(self.warmup * (steps or self.steps) / self.steps)
        return replace(self, steps=steps or self.steps, batch=batch or self.batch, lr=lr or self.lr, warmup=warmup)

    def factor(self, step: int) -> float:
        """Share of the base learning rate at a step, counted from 0."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        done = step / self.steps
        fall = (1 - done) ** POWER if self.decay == "poly" else 0.5 * (1 + math.cos(math.pi * done))
        return (self.warmup_factor + (1 - self.warmup_factor) * rise) * fall

    @property
    def peak(self) -> float:
        """Largest learning rate of all steps."""
        return max(map(self.rate, range(self.steps)))

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.lr * self.factor(step)
