"""The optimisation loop of all trainings: reproducible, with checkpoints and a log, and resumable."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from semla_ros.training.checkpoint import Checkpoint
from semla_ros.training.log import Log


@dataclass(frozen=True)
class Schedule:
    """Length, batch size and learning rates of a training with AdamW.

    Attributes:
        steps: Number of optimiser steps.
        batch: Number of samples per step.
        lr: Peak learning rate. It is reached after ``warmup`` steps and then falls to zero along a cosine.
        warmup: Number of steps with a linearly rising learning rate.
        weight_decay: Weight decay of AdamW.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 50
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup)
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def fit(
    name: str,
    module: nn.Module,
    loss_of: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Trains until the schedule ends. Continues from the last checkpoint if there is one.

    Step n draws its samples from a generator seeded with (seed, n). An interrupted and resumed training therefore
    gives the same weights and the same log as an uninterrupted one.

    Args:
        name: Name of checkpoint, log and progress bar.
        module: Module to train. All its parameters that require a gradient are trained.
        loss_of: Draws a batch with the given generator and returns its loss.
        schedule: Number of steps and learning rates.
        folder: Folder of the checkpoint ``<name>.pt`` and the log ``<name>.csv``.
        seed: Seed of the samples.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)
    checkpoint = Checkpoint(folder / f"{name}.pt", module, optimizer)
    first = checkpoint.restore()
    log = Log(folder / f"{name}.csv", first)
    bar = tqdm(range(first, schedule.steps), desc=name, initial=first, total=schedule.steps, mininterval=5)
    for step in bar:
        rate = schedule.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(torch.Generator().manual_seed(seed * 1_000_003 + step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.4f}")
        # Checkpoints are saved only after a row of the log, so that a resumed log has the same rows.
        if log.add(step, loss.item(), rate):
            checkpoint.save_periodically(step + 1)
    if first < schedule.steps:
        log.write_row(schedule.steps - 1, schedule.rate(schedule.steps - 1))
        checkpoint.save(schedule.steps)
