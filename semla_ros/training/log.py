"""Training log: a CSV file with one row per 20 steps."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

from semla_ros.errors import TrainingError

COLUMNS = ("step", "loss", "learning_rate", "seconds")


class Log:
    """Writes the mean loss of every ``every`` steps, and continues the log of an interrupted training.

    Args:
        path: CSV file. Its columns are `COLUMNS`: number of the row's last step from 0, mean loss, learning rate, and
            seconds of training until then. Interruptions do not count.
        first_step: Step that the training starts with. Existing rows of this step and later ones are removed, because
            these steps are run again.
        every: Number of steps per row.

    Raises:
        TrainingError: The file is not such a log, or cannot be written.
    """

    def __init__(self, path: Path, first_step: int = 0, every: int = 20) -> None:
        self.path, self.every = path, every
        self._losses: list[float] = []
        kept = [row for row in self._rows() if int(row["step"]) < first_step]
        self._start = time.monotonic() - (float(kept[-1]["seconds"]) if kept else 0.0)
        self._write([list(COLUMNS), *([row[name] for name in COLUMNS] for row in kept)])

    @property
    def mean(self) -> float:
        """Mean loss since the last row; 0 directly after a row."""
        return sum(self._losses) / max(1, len(self._losses))

    def add(self, step: int, loss: float, rate: float) -> bool:
        """Adds a step.

        Args:
            step: Number of the step, from 0.
            loss: Loss of the step.
            rate: Learning rate of the step.

        Returns:
            True if a row was written.

        Raises:
            TrainingError: The file cannot be written.
        """
        self._losses.append(loss)
        if len(self._losses) < self.every:
            return False
        self.write_row(step, rate)
        return True

    def write_row(self, step: int, rate: float) -> None:
        """Writes a row for the steps since the last one, if there are any.

        Args:
            step: Number of the last step, from 0.
            rate: Learning rate of the last step.

        Raises:
            TrainingError: The file cannot be written.
        """
        if self._losses:
            seconds = time.monotonic() - self._start
            self._write([[str(step), f"{self.mean:.5f}", f"{rate:.3e}", f"{seconds:.0f}"]], append=True)
            self._losses.clear()

    def _rows(self) -> list[dict[str, str]]:
        """The complete rows of the file, column to text."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) not in (COLUMNS, ()):
            hint = "Delete or rename it: the training needs the name for its log."
            raise TrainingError("not a training log", where=self.path, got=header, expected=list(COLUMNS), hint=hint)
        # A row that was cut off while it was written is left out: its steps were not saved and are run again.
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows if len(row) == len(COLUMNS) and row[-1]]

    def _write(self, rows: list[list[str]], append: bool = False) -> None:
        """Appends rows, or replaces the whole file."""
        target = self.path if append else self.path.with_name(f"{self.path.name}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a" if append else "w", newline="") as file:
                csv.writer(file).writerows(rows)
            if not append:
                os.replace(target, self.path)
        except OSError as error:
            hint = "Free space on the disk and run the command again: it continues from the last checkpoint."
            raise TrainingError("log cannot be written", where=self.path, got=error.strerror, hint=hint) from error
