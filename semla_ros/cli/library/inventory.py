"""``semla library list``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_json, accepts_place, base_of, opened, write_json
from semla_ros.cli.library.table import new_table, show
from semla_ros.cli.options import claimed, task
from semla_ros.text import counted

if TYPE_CHECKING:
    from semla_ros.library.inventory import Entry

UNKNOWN = "-"


def add(library: Any) -> None:
    """Adds the subcommand."""
    about = "list the adapters: size, training images, and how far each is from its nearest neighbour"
    listing = task(library, "list", _list, about)
    accepts_json(listing, "figures")
    accepts_place(listing)


def _list(args: argparse.Namespace) -> None:
    from semla_ros.library.inventory import inventory

    claimed(args.json)
    bundle, folder = opened(args)
    is_of_unknown_base = args.library and not args.bundle
    entries = inventory(folder.paths, None if is_of_unknown_base else base_of(bundle))
    _show(entries, folder.path)
    write_json(args.json, [asdict(each) for each in entries])


def _show(entries: list[Entry], place: Path) -> None:
    table = new_table(f"{counted(len(entries), 'adapter')} in {place}")
    for column in ("name", "method"):
        table.add_column(column, no_wrap=True)
    for column in ("rank", "size", "images", "mean distance"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("nearest neighbour", no_wrap=True)
    for column in ("distance", "layers"):
        table.add_column(column, justify="right", no_wrap=True)
    for each in entries:
        table.add_row(*_cells(each))
    show(table)
    for each in entries:
        for error in each.errors:
            print(f"{each.name}: {error}")


def _cells(entry: Entry) -> list[str]:
    size = f"{entry.size / 2**20:.2f} MiB" if entry.size else UNKNOWN
    share = "" if entry.share is None else f" ({entry.share:.0%})"
    return [
        entry.name, entry.method or UNKNOWN, _text(entry.rank), size, _text(entry.images),
        _distance(entry.mean_distance), entry.neighbour or UNKNOWN, _distance(entry.neighbour_distance),
        UNKNOWN if entry.layers is None else f"{entry.layers}{share}",
    ]  # fmt: skip


def _text(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _distance(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"
