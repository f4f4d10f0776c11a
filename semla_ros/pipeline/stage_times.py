"""How long the stages of a frame take."""

from __future__ import annotations

import time


class StageTimes:
    """Measures stages that follow each other.

    Attributes:
        seconds: Stage to seconds, for the stages that ran.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """Starts the next stage now."""
        self._start = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Ends a stage now and starts the next one."""
        self.seconds[stage] = time.perf_counter() - self._start
        self.start()
