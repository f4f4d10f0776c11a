"""Checkpoint of a training: weights, optimiser state and number of finished steps, replaced as a whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semla_ros.errors import TrainingError

START_OVER = "Delete it to start this training again, or choose another work folder."


class Checkpoint:
    """Reads and writes the checkpoint of one training.

    Args:
        path: Checkpoint file.
        module: Trained module.
        optimizer: Its optimiser.
        period_s: Shortest time between two periodic saves, seconds.
    """

    def __init__(self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, period_s: float = 60) -> None:
        self.path, self.module, self.optimizer, self.period_s = path, module, optimizer, period_s
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Loads the state into module and optimiser, if the file exists.

        Returns:
            Number of finished steps; 0 without a file.

        Raises:
            TrainingError: The file is damaged or belongs to another training.
        """
        if not self.path.exists():
            return 0
        state = self._read()
        try:
            self.module.load_state_dict(state["trained"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["step"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                "checkpoint of another training", where=self.path, got=" ".join(str(error).split()),
                expected="the state of this module and its optimiser", hint=START_OVER,
            ) from error  # fmt: skip

    def save_periodically(self, step: int) -> None:
        """Saves if `period_s` has passed since the last save.

        Raises:
            TrainingError: The file cannot be written.
        """
        if time.monotonic() - self._saved_at > self.period_s:
            self.save(step)

    def save(self, step: int) -> None:
        """Writes the state to a temporary file, which then replaces the checkpoint.

        Args:
            step: Number of finished steps.

        Raises:
            TrainingError: The file cannot be written. The old checkpoint is kept.
        """
        partial = self.path.with_name(f"{self.path.name}.partial")
        state = {"step": step, "trained": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, partial)
            os.replace(partial, self.path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            raise TrainingError(
                "checkpoint cannot be written", where=self.path, got=" ".join(str(error).split()),
                hint="Free space on the disk and run the command again: it continues from the last checkpoint.",
            ) from error  # fmt: skip
        self._saved_at = time.monotonic()

    def _read(self) -> Any:
        try:
            return torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch and its unpickler raise many types for damaged files
            raise TrainingError(
                "checkpoint cannot be read", where=self.path, got=type(error).__name__, hint=START_OVER
            ) from error
