"""Checkpoint of a training: trained values, optimiser state and number of finished steps, replaced as a whole.

accelerate's own checkpoint is a folder of several files, which a kill may leave half written, and holds the whole
network; this one is a single file with what is trained.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semla_ros.errors import TrainingError
from semla_ros.whole_file import whole_file

START_OVER = "Delete it to start this training again, or choose another work folder."


class Checkpoint:
    """Reads and writes the checkpoint of one training.

    Args:
        path: Checkpoint file.
        trained: Parameter name to the parameter that is trained.
        parts: Name to whatever else has a state: optimiser, best values.
        period_s: Shortest time between two periodic saves, seconds.
        writes: Whether this process writes the file.
    """

    def __init__(
        self, path: Path, trained: Mapping[str, Tensor], parts: Mapping[str, Any], period_s: float = 60,
        writes: bool = True,
    ) -> None:  # fmt: skip
        self.path, self.trained, self.parts, self.period_s, self.writes = path, trained, parts, period_s, writes
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Loads the state into the parameters and the other parts, if the file exists.

        Returns:
            Number of finished steps; 0 without a file.

        Raises:
            TrainingError: The file is damaged or belongs to another training.
        """
        if not self.path.exists():
            return 0
        state = self._read()
        try:
            self._load_trained(state["trained"])
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            return int(state["step"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                "checkpoint of another training", where=self.path, got=" ".join(str(error).split()),
                expected="the state of this training", hint=START_OVER,
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
        self._saved_at = time.monotonic()
        if not self.writes:
            return
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        trained = {name: parameter.detach() for name, parameter in self.trained.items()}
        state = {"step": step, "trained": trained, **parts}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as partial:
                torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            incomplete = "unexpected pos" in str(error)  # torch's words for a file that could not be written to its end
            raise TrainingError(
                "checkpoint cannot be written", where=self.path,
                got="not all of it could be written" if incomplete else " ".join(str(error).split()),
                hint="Free space on the disk and run the command again. It continues from the last checkpoint, if any.",
            ) from error  # fmt: skip

    @torch.no_grad()
    def _load_trained(self, values: Mapping[str, Tensor]) -> None:
        if values.keys() != self.trained.keys():
            raise ValueError("other parameters")
        for name, parameter in self.trained.items():
            if values[name].shape != parameter.shape:
                raise ValueError(f"size mismatch for {name}: {tuple(values[name].shape)}, {tuple(parameter.shape)}")
            parameter.copy_(values[name])

    def _read(self) -> Any:
        try:
            return torch.load(self.path, weights_only=True, map_location="cpu")
        except Exception as error:  # torch and its unpickler raise many types for damaged files
            raise TrainingError(
                "checkpoint cannot be read", where=self.path, got=type(error).__name__, hint=START_OVER
            ) from error
