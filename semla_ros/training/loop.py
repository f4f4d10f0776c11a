"""One optimisation loop for all trainings: seeded by step, checkpointed, resumable, logged."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Optimiser steps.
        batch: Samples a step.
        lr: Peak learning rate, reached after ``warmup`` steps, then a cosine down to zero.
        warmup: Steps.
        weight_decay: Of AdamW.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 50
    weight_decay: float = 0.05

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = min(1.0, (step + 1) / self.warmup)
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def fit(
    name: str,
    trained: nn.Module,
    loss_of: Callable[[torch.Generator], Tensor],
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> None:
    """Trains until the schedule ends, going on from the last checkpoint where there is one.

    Step n draws its samples from a generator seeded by (seed, n), so that an interrupted training continues as if
    nothing had happened.

    Args:
        name: Of the checkpoint, the log and the progress bar.
        trained: What is trained: all its parameters that require a gradient.
        loss_of: Loss of a batch drawn with the generator.
        schedule: Steps and rates.
        folder: Where ``<name>.pt`` and ``<name>.csv`` are kept.
        seed: Of the draws.
    """
    parameters = [p for p in trained.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=schedule.weight_decay)
    checkpoint = Checkpoint(folder / f"{name}.pt", trained, optimizer)
    first = checkpoint.restore()
    bar = tqdm(range(first, schedule.steps), desc=name, initial=first, total=schedule.steps, mininterval=5)
    log = Log(folder / f"{name}.csv")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = loss_of(torch.Generator().manual_seed(seed * 1_000_003 + step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        log.add(step, loss.item(), schedule.rate(step))
        bar.set_postfix(loss=f"{log.mean:.4f}")
        checkpoint.save_now_and_then(step + 1)
    log.flush()
    checkpoint.save(schedule.steps)


class Checkpoint:
    """State of a training on disk, replaced whole."""

    def __init__(self, path: Path, trained: nn.Module, optimizer: torch.optim.Optimizer, period_s: float = 60) -> None:
        self.path, self.trained, self.optimizer, self.period_s = path, trained, optimizer, period_s
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Loads the state, if there is one; returns the steps done."""
        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        self.trained.load_state_dict(state["trained"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def save_now_and_then(self, step: int) -> None:
        """Saves if ``period_s`` have passed since the last time."""
        if time.monotonic() - self._saved_at > self.period_s:
            self.save(step)

    def save(self, step: int) -> None:
        """Writes beside the old state, then takes its place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        state = {"step": step, "trained": self.trained.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, partial)
        os.replace(partial, self.path)
        self._saved_at = time.monotonic()


class Log:
    """Mean losses as CSV, one row every ``every`` steps."""

    def __init__(self, path: Path, every: int = 20) -> None:
        self.path, self.every = path, every
        self._rows: list[tuple[int, float, float]] = []
        self._start = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def mean(self) -> float:
        """Mean loss since the last row."""
        return sum(loss for _, loss, _ in self._rows) / max(1, len(self._rows))

    def add(self, step: int, loss: float, rate: float) -> None:
        """Notes a step."""
        self._rows.append((step, loss, rate))
        if len(self._rows) == self.every:
            self.flush()

    def flush(self) -> None:
        """Writes the row of the steps noted so far."""
        if not self._rows:
            return
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", "loss", "learning_rate", "seconds"])
            step, _, rate = self._rows[-1]
            writer.writerow([step, f"{self.mean:.5f}", f"{rate:.3e}", f"{time.monotonic() - self._start:.0f}"])
        self._rows.clear()
