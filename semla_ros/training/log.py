"""Training log: a CSV file with the mean loss of every few steps, and the mIoU where it was measured."""

from __future__ import annotations

import csv
import time
from contextlib import nullcontext
from pathlib import Path

from semla_ros.errors import TrainingError
from semla_ros.whole_file import whole_file

COLUMNS = ("step", "loss", "learning_rate", "miou", "seconds")


class Log:
    """Writes rows to a CSV file, and continues the log of an interrupted training.

    Args:
        path: CSV file. Its columns are `COLUMNS`: number of the row's last step from 0, mean loss since the row before,
            learning rate, mIoU in percent (empty where it was not measured), and seconds of training until then.
            Interruptions do not count.
        first_step: Step that the training starts with. Existing rows of this step and later ones are removed, because
            these steps are run again.
        writes: Whether this process writes the file.

    Raises:
        TrainingError: The file is not such a log, or cannot be written.
    """

    def __init__(self, path: Path, first_step: int = 0, writes: bool = True) -> None:
        self.path, self.writes = path, writes
        self._losses: list[float] = []
        kept = [row for row in read_rows(path) if int(row["step"]) < first_step]
        self._start = time.monotonic() - (float(kept[-1]["seconds"]) if kept else 0.0)
        self._write([list(COLUMNS), *([row[name] for name in COLUMNS] for row in kept)])

    @property
    def mean(self) -> float:
        """Mean loss since the last row; 0 directly after a row."""
        return sum(self._losses) / max(1, len(self._losses))

    def add(self, loss: float) -> None:
        """Adds the loss of a step."""
        self._losses.append(loss)

    def write_row(self, step: int, rate: float, miou: float | None = None) -> None:
        """Writes a row for the steps since the last one.

        Args:
            step: Number of the last step, from 0.
            rate: Learning rate of the last step.
            miou: mIoU after the last step, percent; None where it was not measured.

        Raises:
            TrainingError: The file cannot be written.
        """
        seconds, score = time.monotonic() - self._start, "" if miou is None else f"{miou:.2f}"
        self._write([[str(step), f"{self.mean:.5f}", f"{rate:.3e}", score, f"{seconds:.0f}"]], append=True)
        self._losses.clear()

    def _write(self, rows: list[list[str]], append: bool = False) -> None:
        """Appends rows, or replaces the whole file."""
        if not self.writes:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            place = nullcontext(self.path) if append else whole_file(self.path)
            with place as target, target.open("a" if append else "w", newline="") as file:
                csv.writer(file).writerows(rows)
        except OSError as error:
            hint = "Free space on the disk and run the command again: it continues from the last checkpoint."
            raise TrainingError("log cannot be written", where=self.path, got=error.strerror, hint=hint) from error


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the complete rows of a log, column to text; none if there is no file.

    Raises:
        TrainingError: The file is not a training log, or damaged.
    """
    if not path.exists():
        return []
    with path.open(newline="", errors="replace") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    hint = "Delete or rename it: the training needs the name for its log."
    if tuple(header) not in (COLUMNS, ()):
        raise TrainingError("not a training log", where=path, got=header, expected=list(COLUMNS), hint=hint)
    # A row that was cut off while it was written is left out: its steps were not saved and are run again.
    rows = [row for row in rows if len(row) == len(COLUMNS) and row[-1]]
    for row in rows:
        try:
            int(row[0]), [float(cell or 0) for cell in row]
        except ValueError as error:
            raise TrainingError("damaged training log", where=path, got=row, expected="numbers", hint=hint) from error
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]
