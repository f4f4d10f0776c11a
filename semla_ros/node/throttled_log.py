"""Logging of errors that may repeat with every frame, without flooding the log."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from semla_ros.errors import SemlaError

PERIOD_S = 10.0
DIFFERENT = 10
MAX_LENGTH = 500


class Logger(Protocol):
    """The methods of a logger that are used here; those of rclpy and of Python's logging fit."""

    def warning(self, message: str) -> Any: ...  # noqa: D102
    def error(self, message: str) -> Any: ...  # noqa: D102


class ThrottledLogger:
    """Logs the same text at most once per ten seconds, and at most ten different texts in that time.

    Args:
        logger: Receives the texts.
        clock: Returns monotonic time in seconds.
    """

    def __init__(self, logger: Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def warning(self, text: str) -> None:
        """Logs something that works, but probably not as intended."""
        if self._is_new(text):
            self._logger.warning(text)

    def error(self, text: str) -> None:
        """Logs a failure."""
        if self._is_new(text):
            self._logger.error(text)

    def _is_new(self, text: str) -> bool:
        now = self._clock()
        self._logged_at = {text: at for text, at in self._logged_at.items() if now - at < PERIOD_S}
        if text in self._logged_at or len(self._logged_at) >= DIFFERENT:
            return False
        self._logged_at[text] = now
        return True


def reason(error: Exception) -> str:
    """An error in one line of at most `MAX_LENGTH` characters; the type is added if the error is unexpected."""
    text = str(error) if isinstance(error, SemlaError) else f"{type(error).__name__}: {error}"
    if len(text) <= MAX_LENGTH:
        return text
    half = MAX_LENGTH // 2 - 20
    return f"{text[:half]} ... [{len(text)} characters] ... {text[-half:]}"


def explained(error: Exception) -> str:
    """An error for the log: one line for a `SemlaError`, with the traceback for an unexpected one."""
    if isinstance(error, SemlaError):
        return reason(error)
    return "".join(traceback.format_tb(error.__traceback__)) + reason(error)
