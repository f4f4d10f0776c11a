"""A gate in the file system at which the stand-in pipeline waits, so that a test decides when a frame is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "SEMLA_TEST_GATE"


class Gate:
    """Two files: the test removes and makes ``open``, the pipeline makes ``entered``."""

    def __init__(self, folder: Path) -> None:
        self._open, self._entered = folder / "open", folder / "entered"

    @contextmanager
    def closed(self) -> Iterator[Gate]:
        """The gate is closed in the ``with`` block."""
        self._open.unlink(missing_ok=True)
        self._entered.unlink(missing_ok=True)
        try:
            yield self
        finally:
            self._open.touch()

    def open(self) -> None:
        self._open.touch()

    def entered(self) -> bool:
        """Whether a frame, or a library that is read, has come to the closed gate."""
        return self._entered.exists()

    def wait(self, step: Callable[[], None] = lambda: None) -> None:
        """Waits until the gate is open; calls ``step`` again and again meanwhile."""
        self._entered.touch()
        while not self._open.exists():
            step()
            time.sleep(0.01)
