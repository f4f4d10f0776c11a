"""Messages of Python's logging in the ROS log: console, log file and /rosout."""

from __future__ import annotations

import logging
from typing import Any


class RosLogHandler(logging.Handler):
    """Passes log records on to a ROS logger.

    Args:
        logger: Logger of a node.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`. rclpy allows one severity per line of code."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
