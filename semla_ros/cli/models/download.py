"""``semla models get`` and ``semla models fetch``: downloads of published models."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semla_ros.cli.models.importing import print_ready
from semla_ros.cli.options import task
from semla_ros.errors import ConfigError


def add(models: Any) -> None:
    """Adds the subcommands."""
    get = task(models, "get", _get, "download and import published models as a bundle")
    get.add_argument("name", metavar="NAME", help="bundle to make: official (SemLA's published models)")
    get.add_argument("-o", "--out", type=Path, help="folder of the bundle (default: where --bundle NAME finds it)")
    _accepts_checksums(get)
    fetch = task(models, "fetch", _fetch, "list the published files, or download some of them")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="files to download; without a name, all are listed")
    _accepts_checksums(fetch)


def _accepts_checksums(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--accept-checksum", action="append", default=[], metavar="NAME=SHA256", type=_checksum,
        help="accept a file whose checksum is not the published one; repeatable",
    )  # fmt: skip


def _checksum(text: str) -> tuple[str, str]:
    name, _, checksum = text.partition("=")
    if not re.fullmatch("[0-9a-fA-F]{64}", checksum):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=SHA256 with 64 hexadecimal digits")
    return name, checksum.lower()


def _get(args: argparse.Namespace) -> None:
    from semla_ros.library.catalogue import RECIPES
    from semla_ros.library.downloads import bundles_folder

    if args.name not in RECIPES:
        raise ConfigError("unknown bundle", where="models get", got=args.name, expected=" or ".join(RECIPES))
    recipe, out = RECIPES[args.name], args.out or bundles_folder() / args.name
    fetched = _fetcher(args.accept_checksum, [recipe.segmenter, recipe.library, recipe.navigator])

    from semla_ros.library.recipes import get_bundle

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    print_ready(get_bundle(recipe, out, fetched).path, args.name if args.out is None else None)


def _fetch(args: argparse.Namespace) -> None:
    fetched = _fetcher(args.accept_checksum, args.names)
    if not args.names:
        _list()
    for name in args.names:
        print(f"{name}: {fetched(name)}")


def _fetcher(accepted: Sequence[tuple[str, str]], names: Sequence[str]) -> Callable[[str], Path]:
    """Returns a function that downloads a file by its name, and shows how far it is.

    Raises:
        ConfigError: One of ``names`` is unknown, or a checksum is for none of them.
    """
    from semla_ros.library.catalogue import CATALOGUE
    from semla_ros.library.downloads import cache_folder, fetch
    from semla_ros.progress import ProgressBar

    known, checksums = {each.name: each for each in CATALOGUE}, dict(accepted)
    if unknown := set(names) - known.keys():
        raise ConfigError("unknown file", where="models", got=", ".join(sorted(unknown)), expected=", ".join(known))
    if idle := checksums.keys() - set(names):
        raise ConfigError(
            "checksum without a file", where="--accept-checksum", got=", ".join(sorted(idle)), expected=names
        )

    def fetched(name: str) -> Path:
        with ProgressBar(desc=name, unit="B", unit_scale=True, unit_divisor=1024) as bar:

            def show(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return fetch(known[name], cache_folder(), show, checksums.get(name))

    return fetched


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from semla_ros.library.catalogue import CATALOGUE, RECIPES
    from semla_ros.library.downloads import CACHE, cache_folder, place_of

    table = Table(title=f"Downloads in {cache_folder()} (set ${CACHE} to move it)")
    for column in ("name", "content", "size", "licence"):
        table.add_column(column, no_wrap=column != "content")
    table.add_column("source", overflow="fold")
    for each in CATALOGUE:
        present = place_of(each, cache_folder()).exists()
        table.add_row(
            each.name, each.about, "[green]present[/green]" if present else each.size, each.licence, each.source
        )
    Console().print(table)
    for name, recipe in RECIPES.items():
        print(f"semla models get {name}: downloads and imports {recipe.about}")
