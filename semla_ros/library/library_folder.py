"""The folder of an adapter library on disk: one folder per adapter, added and removed whole."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory

from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import AdapterFolder, check_name, is_adapter_name
from semla_ros.library.manifest import fingerprint

REMEDY = "Free space on the disk, or work on a copy of the library that is writable."
CHANGED = "Another command has changed the library meanwhile, or a file is in the way: try again."
REMEDIES = {errno.ENOTEMPTY: CHANGED, errno.EEXIST: CHANGED, errno.ENOENT: CHANGED}
LOG = logging.getLogger(__name__)
REMOVED = ".removed"  # folder in the library; what is taken out of the library goes there


class LibraryFolder:
    """A folder with one sub-folder per adapter.

    Args:
        path: The folder.

    Raises:
        AdapterError: The folder is missing or unreadable.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise AdapterError("no adapter library", where=path, hint="A bundle keeps it in adapters/.")
        self.path = path
        try:
            self.paths = adapter_paths(path)
        except OSError as error:
            raise AdapterError("unreadable adapter library", where=path, hint=str(error)) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the adapters, sorted. Nothing is known yet about the content of their folders."""
        return tuple(path.name for path in self.paths)

    def find(self, name: str) -> Path:
        """Returns the folder of an adapter.

        Raises:
            AdapterError: There is no adapter of this name; the message offers the most similar name.
        """
        if name in self.names:
            return self.path / name
        similar = get_close_matches(name, self.names, 1)
        known = f"one of {', '.join(self.names)}" if self.names else "nothing: the library is empty"
        raise AdapterError(
            "no such adapter", where=self.path, got=name, expected=known,
            hint=f"Did you mean {similar[0]}?" if similar else None,
        )  # fmt: skip

    def add(self, folders: Sequence[AdapterFolder], overwrite: bool = False, name: str = "") -> dict[str, Path]:
        """Copies adapters into the library, all of them or none.

        Args:
            folders: The adapters.
            overwrite: Whether an adapter may replace one of its name, which is then removed as by `remove`.
            name: Name in the library, for a single adapter; empty for that of its folder.

        Returns:
            The name of each adapter that was replaced, and where its folder is now.

        Raises:
            AdapterError: Two adapters have one name, a name is hidden, or the library cannot be written to. Nothing has
                changed then.
        """
        names = [name or each.name for each in folders]
        self._check_names(names, overwrite)
        removed = self._new_place()
        replaced = {each: removed / each for each in names if each in self.names}
        with (
            self._errors_explained(),
            TemporaryDirectory(prefix=".adding.", dir=self.path) as place,
            ExitStack() as undo,
        ):
            for adapter, each in zip(folders, names, strict=True):
                adapter.copy_to(Path(place, each))
            for each, new_place in replaced.items():
                _move(self.path / each, new_place, undo)
            for each in names:
                _move(Path(place, each), self.path / each, undo)
            undo.pop_all()
        self.paths = adapter_paths(self.path)
        return replaced

    def remove(self, names: Sequence[str]) -> dict[str, Path]:
        """Moves adapters out of the library, all of them or none. Their files are kept in the folder ``.removed``.

        Returns:
            The name of each adapter and where its folder is now.

        Raises:
            AdapterError: There is no adapter of one of these names, or the library cannot be written to. Nothing has
                changed then.
        """
        sources = {name: self.find(name) for name in names}
        place = self._new_place()
        with self._errors_explained(), ExitStack() as undo:
            for name, source in sources.items():
                _move(source, place / name, undo)
            undo.pop_all()
        self.paths = adapter_paths(self.path)
        return {name: place / name for name in sources}

    def _check_names(self, names: Sequence[str], overwrite: bool) -> None:
        for name in names:
            check_name(name, self.path)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            hint = "Add them one by one, and give one of them another name with --name."
            raise AdapterError("two adapters of one name", got=", ".join(twice), hint=hint)
        present = sorted(set(names) & set(self.names))
        if present and not overwrite:
            raise AdapterError(
                "the library has an adapter of this name", where=self.path, got=", ".join(present),
                hint="Give it another name with --name, or replace it with --overwrite.",
            )  # fmt: skip

    def _new_place(self) -> Path:
        """Returns the path of a folder for removed adapters that does not exist yet."""
        return self.path / REMOVED / datetime.now().strftime("%Y-%m-%d_%H-%M-%S.%f")

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise AdapterError(
                "adapter library cannot be changed", where=error.filename2 or error.filename or self.path,
                got=error.strerror or error, hint=f"Nothing has changed. {REMEDIES.get(error.errno or 0, REMEDY)}",
            ) from error  # fmt: skip


def identity(folder: Path) -> tuple[object, ...]:
    """Returns what changes when a library is replaced, or an adapter in it is added, removed or changed.

    Raises:
        AdapterError: The folder or an adapter is gone.
    """
    try:
        adapters = [(path.name, path.stat().st_ctime_ns, fingerprint(path)) for path in _folders(folder)]
        return folder.stat().st_ino, *adapters
    except OSError as error:
        raise AdapterError("no adapter library", where=folder, got=error.strerror) from error


def adapter_paths(folder: Path) -> list[Path]:
    """Returns the folders in a folder, sorted, without hidden ones, links that lead out of it and what macOS adds.

    Raises:
        OSError: The folder cannot be read.
    """
    paths = _folders(folder)
    inside = [path for path in paths if path.resolve().is_relative_to(folder.resolve())]
    if len(inside) < len(paths):
        outside = ", ".join(str(path) for path in paths if path not in inside)
        LOG.warning("adapters left out: %s leads out of the library; copy it with 'semla library add'", outside)
    return inside


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder with names of adapters, sorted."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_adapter_name(path.name))


def _move(source: Path, target: Path, undo: ExitStack) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    undo.callback(target.rename, source)
