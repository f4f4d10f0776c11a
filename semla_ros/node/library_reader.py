"""Reads an adapter library in a thread of its own, slowly enough that no frame is late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from semla_ros.node.signals import Stopped

Result = TypeVar("Result")
REST = 9.0  # seconds of rest per second of work
LONGEST_REST_S = 0.2


class LibraryReader:
    """One thread that reads with one core and rests after each adapter.

    Python runs one thread at a time. Without a rest, the thread that segments would wait for this one after each
    operation of the network.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "semla_reader", _compute_with_one_core)
        self._closing = threading.Event()
        self._began_s = 0.0

    def submit(self, read: Callable[[], Result]) -> Future[Result]:
        """Runs a function that calls `pause` again and again. A second one waits for the first."""

        def run() -> Result:
            self._began_s = time.monotonic()
            return read()

        return self._thread.submit(run)

    def pause(self) -> None:
        """Rests in proportion to the time since the last rest.

        Raises:
            Stopped: The reader is being closed.
        """
        worked_s = time.monotonic() - self._began_s
        if self._closing.wait(min(REST * worked_s, LONGEST_REST_S)):
            raise Stopped("the library was not read: the node frees its models")
        self._began_s = time.monotonic()

    def close(self) -> None:
        """Gives up what is being read and ends the thread."""
        self._closing.set()
        self._thread.shutdown(cancel_futures=True)


def _compute_with_one_core() -> None:
    import torch  # not at the top: the node starts before it

    torch.set_num_threads(1)
