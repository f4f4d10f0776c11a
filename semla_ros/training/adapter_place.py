"""The folder of a new adapter or bundle: hidden while it is made, and exchanged whole when it is complete."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semla_ros.errors import TrainingError
from semla_ros.library.adapter_folder import is_adapter
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.training.settings import claim


class AdapterPlace:
    """Place of an adapter, or of a bundle, that is trained.

    Args:
        out: Folder of the adapter, ``<library>/<name>``.
        overwrite: Whether an adapter of that name may be replaced; None if there is no such choice. The old one stays
            until the new one is complete; its files are then kept in the library's folder of removed adapters.
        noun: What is trained, for messages.

    Attributes:
        name: Name of the adapter.
        work: Folder of checkpoint and log, ``<library>/.<name>.training``. Libraries leave hidden folders out.
        replaced: Where the adapter is now that `filled` has replaced; None if there was none.

    Raises:
        TrainingError: The adapter exists, or something that is none; or its name is no name of a folder.
    """

    def __init__(self, out: Path, overwrite: bool | None = None, noun: str = "adapter") -> None:
        self.noun = noun
        self.out, self.name = out.absolute(), out.absolute().name
        if not self.name or self.name.startswith("."):
            raise TrainingError("not the name of a folder", where="-o", got=out, expected="a folder and a name in it")
        self.work = self.out.with_name(f".{self.name}.training")
        self.replaced: Path | None = None
        if os.path.lexists(self.out):
            self._check_replaceable(out, overwrite)

    def _check_replaceable(self, out: Path, overwrite: bool | None) -> None:
        if overwrite is not None and not is_adapter(self.out):
            hint = f"Name the new adapter: {out / 'NAME'}." if out.is_dir() else "Choose another name."
            raise TrainingError("this exists and is no adapter", where=out, hint=hint)
        if not overwrite:
            replaced = ", or add --overwrite: the old one stays until the new one is complete"
            hint = f"Choose another name{'' if overwrite is None else replaced}."
            raise TrainingError(f"the {self.noun} exists already", where=out, hint=hint)

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Creates the work folder, or continues the training whose checkpoint is in it.

        Args:
            settings: Everything that the result depends on.

        Raises:
            TrainingError: The folder cannot be written, or holds a training with other settings.
        """
        with self._written():
            self.work.mkdir(parents=True, exist_ok=True)
            self._lock()
            claim(self.work, settings, self._has_begun)

    @property
    def _has_begun(self) -> bool:
        """Whether the work folder holds anything that was trained."""
        return any(self.work.glob("*.pt"))

    def _lock(self) -> None:
        """Refuses a second training of the same adapter. The system removes the lock when this process ends."""
        self._locked = (self.work / "lock").open("w")
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"another training of this {self.noun} is under way", where=self.out) from error

    @contextmanager
    def filled(self) -> Iterator[Path]:
        """Gives an empty folder of the adapter's name; when it is filled, it takes the place of the adapter.

        The work folder is then removed.

        Raises:
            TrainingError: The disk is full or the place cannot be written to. The work folder is kept.
        """
        new = self.work / "adapter" / self.name
        with self._written():
            shutil.rmtree(new.parent, ignore_errors=True)
            new.mkdir(parents=True)
            yield new
            if self.out.is_dir():
                self.replaced = LibraryFolder(self.out.parent).remove([self.name])[self.name]
            new.rename(self.out)
        shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = f" What was trained is kept in {self.work}." if self._has_begun else ""
            raise TrainingError(
                f"{self.noun} cannot be written", where=self.out, got=error.strerror or error,
                hint=f"Choose another place, or free space there.{kept}",
            ) from error  # fmt: skip
