"""One thread that owns the pipeline: the newest frame only, and tasks between two frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Worker(Generic[Item]):
    """Works on the newest item only, so that what comes out is never older than two items' work.

    Args:
        work: Done to each item that is taken, in the worker's thread. It must not raise.
    """

    def __init__(self, work: Callable[[Item], None]) -> None:
        self._work = work
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semla_worker")
        self._lock = threading.Lock()
        self._newest: Item | None = None

    def offer(self, item: Item) -> bool:
        """Hands over an item; returns whether an older one, still waiting, gave way to it."""
        with self._lock:
            replaced, self._newest = self._newest is not None, item
        if not replaced:
            self._thread.submit(self._take)
        return replaced

    def run(self, task: Callable[[], Result]) -> Future[Result]:
        """Runs an task in the worker's thread, when the items handed over before it are done."""
        return self._thread.submit(task)

    def drain(self) -> bool:
        """Withdraws the waiting item and waits for the one at work; returns whether one was withdrawn."""
        with self._lock:
            withdrawn, self._newest = self._newest is not None, None
        self.run(lambda: None).result()
        return withdrawn

    def stop(self) -> None:
        """Ends the thread when everything handed over is done."""
        self._thread.shutdown()

    def _take(self) -> None:
        with self._lock:
            item, self._newest = self._newest, None
        if item is not None:
            self._work(item)
