"""Scenes on disk, for jumps to any of them."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence

from semla_ros.images.classes import ClassInfo
from semla_ros.view.scene import PackedScene, Scene


class Spool:
    """Keeps packed scenes in a temporary file, about 50 to 150 kB each. Safe to use from several threads.

    The file has no name and is freed with the process.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="semla_view_")  # noqa: SIM115
        self._lock = threading.Lock()
        self._entries: list[tuple[int, int, Sequence[ClassInfo]]] = []
        self._end = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, scene: Scene) -> None:
        """Adds a scene.

        Raises:
            OSError: The disk is full.
        """
        packed = scene.packed
        with self._lock:
            self._file.seek(self._end)
            self._file.write(packed)
            self._entries.append((self._end, len(packed), scene.classes))
            self._end += len(packed)

    def __getitem__(self, index: int) -> PackedScene:
        """The scene of an index, from 0."""
        with self._lock:
            start, length, classes = self._entries[index]
            self._file.seek(start)
            return PackedScene(self._file.read(length), classes)

    def close(self) -> None:
        """Frees the file."""
        with self._lock:
            self._file.close()
