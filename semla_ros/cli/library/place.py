"""The options that say which adapters are meant, and what they must fit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semla_ros.library.base_model import BaseModel
    from semla_ros.library.bundle import Bundle
    from semla_ros.library.library_folder import LibraryFolder

BUNDLE = "streetworld"


def accepts_place(task: argparse.ArgumentParser) -> None:
    """Adds the options that `opened` reads."""
    task.add_argument(
        "--bundle",
        help=f"model bundle, for base model and navigator: path of a folder, or name of an installed one ({BUNDLE})",
    )
    task.add_argument("--library", type=Path, metavar="FOLDER", help="folder of adapters (that of the bundle)")


def accepts_json(task: argparse.ArgumentParser, what: str) -> None:
    """Adds the option that `write_json` reads."""
    task.add_argument("--json", type=Path, metavar="FILE", help=f"write the {what} to this file")


def write_json(file: Path | None, values: object) -> None:
    """Writes plain values to the file of ``--json``, if one is given."""
    if file:
        file.write_text(json.dumps(values, indent=2) + "\n")


def opened(args: argparse.Namespace) -> tuple[Bundle, LibraryFolder]:
    """Opens the bundle of ``--bundle`` and the folder of ``--library``.

    Raises:
        BundleError: There is no such bundle.
        AdapterError: There is no such folder.
    """
    from semla_ros.library.bundle import ADAPTERS, Bundle, find_bundle
    from semla_ros.library.library_folder import LibraryFolder

    bundle = Bundle.open(find_bundle(args.bundle or BUNDLE))
    return bundle, LibraryFolder(args.library or bundle.path / ADAPTERS)


def opened_with_adapters(args: argparse.Namespace) -> tuple[Bundle, LibraryFolder]:
    """Opens what `opened` opens.

    Raises:
        BundleError: There is no such bundle.
        AdapterError: There is no such folder, or no adapter in it.
    """
    from semla_ros.errors import AdapterError

    bundle, folder = opened(args)
    if not folder.paths:
        raise AdapterError("no adapters", where=folder.path, expected="one folder per adapter")
    return bundle, folder


def base_of(bundle: Bundle) -> BaseModel:
    """Loads the base model of a bundle, see `semla_ros.library.base_model.BaseModel.of`."""
    from semla_ros.library.base_model import BaseModel

    return BaseModel.of(bundle)


def adapter_path(name: str, folder: LibraryFolder) -> Path:
    """Returns the folder of an adapter that is given by its name in the library or by a path.

    Raises:
        AdapterError: There is no such adapter.
    """
    path = Path(name)
    return path.resolve() if name not in folder.names and path.is_dir() else folder.find(name)
