"""One thread that owns the pipeline: it processes the newest frame of each camera, and runs tasks between frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Generic, TypeVar

from semla_ros.node.signals import Stopped, Stopping

Item = TypeVar("Item")
Result = TypeVar("Result")
POLL_S = 0.1


class Worker(Generic[Item]):
    """Processes the newest item of each source, and the sources in turn.

    A result is never older than the processing time of one item per source and of one more batch.

    Args:
        work: Processes items of different sources, in the worker's thread. It must not raise.
        stopping: Returns whether the process has received a signal to end.
        batch: Returns the largest number of items to process together, 1 or more. None is waited for.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], None],
        stopping: Stopping = lambda: False,
        batch: Callable[[], int] = lambda: 1,
    ) -> None:
        self._work = work
        self._stopping = stopping
        self._batch = batch
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semla_worker")
        self._lock = threading.Lock()
        self._newest: dict[str, Item] = {}  # in the order in which the sources wait: a newer item keeps the place

    def offer(self, item: Item, source: str = "") -> bool:
        """Hands over an item; returns whether it replaced an older one of the same source that was still waiting.

        The sources take turns: a source whose item has been taken waits behind the others.
        """
        with self._lock:
            replaced = source in self._newest
            self._newest[source] = item
        if not replaced:  # else the call of `_take` that waits takes the new item: calls do not pile up
            self._thread.submit(self._take)
        return replaced

    def submit(self, task: Callable[[], Result]) -> Future[Result]:
        """Runs a task in the worker's thread, after the items that were handed over before."""
        return self._thread.submit(task)

    def call(self, task: Callable[[], Result]) -> Result:
        """Runs a task like `submit` and waits for its result.

        Raises:
            Stopped: The process received a signal to end. The task is not interrupted.
        """
        future = self.submit(task)
        while not wait([future], POLL_S).done:
            if self._stopping():
                raise Stopped
        try:
            return future.result()
        finally:
            del future  # an exception's traceback would refer to this frame, and so to itself

    def drain(self) -> list[str]:
        """Removes the waiting items and waits for those in progress; returns the sources of the removed ones."""
        with self._lock:
            removed = list(self._newest)
            self._newest.clear()
        self.submit(lambda: None).result()
        return removed

    def stop(self, wait: bool = True) -> None:
        """Ends the thread once everything handed over is done; with ``wait`` it returns only then."""
        self._thread.shutdown(wait)

    def _take(self) -> None:
        with self._lock:
            items = [self._newest.pop(source) for source in [*islice(self._newest, self._batch())]]
        if items:
            self._work(items)
