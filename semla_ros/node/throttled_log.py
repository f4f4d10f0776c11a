"""What went wrong, said often enough to be seen and seldom enough to be read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from semla_ros.errors import SemlaError

PERIOD_S = 10.0
DIFFERENT = 10


class Logger(Protocol):
    """What is needed of a logger; rclpy's and Python's own fit alike."""

    def warning(self, message: str) -> Any: ...  # noqa: D102
    def error(self, message: str) -> Any: ...  # noqa: D102


class ThrottledLogger:
    """Logs the same text once in ten seconds, and no more than ten different ones in that time.

    Args:
        logger: Where the texts go.
        clock: Seconds, monotonic.
    """

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._said: dict[str, float] = {}

    def warning(self, text: str) -> None:
        """Says what works, but not as somebody meant it."""
        if self._fresh(text):
            self._logger.warning(text)

    def error(self, text: str) -> None:
        """Says what was lost."""
        if self._fresh(text):
            self._logger.error(text)

    def _fresh(self, text: str) -> bool:
        now = self._clock()
        self._said = {said: at for said, at in self._said.items() if now - at < PERIOD_S}
        if text in self._said or len(self._said) >= DIFFERENT:
            return False
        self._said[text] = now
        return True


def reason(error: Exception) -> str:
    """An error in one line: our own words, or the type of one that nobody thought of."""
    return str(error) if isinstance(error, SemlaError) else f"{type(error).__name__}: {error}"
