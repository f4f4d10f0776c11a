"""Adapters in memory: the least recently used are dropped first, and a thread reads ahead."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

import torch

from semla_ros.library.adapter_folder import AdapterFolder
from semla_ros.modeling.lora import Adapter


class AdapterCache:
    """Keeps the tensors of adapters in memory as far as a budget allows.

    Args:
        folders: Adapter name to its folder.
        budget: Bytes of the tensors kept in memory. One adapter always stays, whatever its size.
        device: Device that the tensors are kept on.
        dtype: Floating-point type that they are kept in.
    """

    def __init__(
        self, folders: Mapping[str, AdapterFolder], budget: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._folders, self._budget, self._device, self._dtype = folders, budget, device, dtype
        self._lock = Lock()  # guards the two dictionaries; never held while a file is read
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._pending: dict[str, Future[Adapter]] = {}
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="semla_library")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters in memory, the least recently used first."""
        with self._lock:
            return tuple(self._loaded)

    def load(self, name: str) -> Adapter:
        """Returns an adapter, from memory or else from disk. It waits for a reading that is under way.

        Raises:
            AdapterError: Its file is no longer readable.
        """
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
            pending = self._pending.get(name)
            if pending is not None and pending.cancel():  # queued behind others: read it here and now
                pending = None
                del self._pending[name]
        return self._read(name) if pending is None else pending.result()

    def prefetch(self, names: Sequence[str]) -> None:
        """Queues adapters to be read in the background, unless they are in memory or queued already.

        A failure has no effect here: `load` reads the adapter again and raises it.
        """
        with self._lock:
            for name in names:
                if name not in self._loaded and name not in self._pending:
                    self._pending[name] = self._reader.submit(self._read_ahead, name)

    def _read_ahead(self, name: str) -> Adapter:
        try:
            return self._read(name)
        finally:
            with self._lock:
                del self._pending[name]

    def _read(self, name: str) -> Adapter:
        """Reads an adapter, then drops the least recently used ones until the budget is kept."""
        adapter = self._folders[name].load(self._device, self._dtype)
        with self._lock:
            self._loaded[name] = adapter
            self._loaded.move_to_end(name)
            while len(self._loaded) > 1 and sum(each.nbytes for each in self._loaded.values()) > self._budget:
                self._loaded.popitem(last=False)
        return adapter
