"""``semla library compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_place, adapter_path, base_of, opened
from semla_ros.cli.library.table import new_table, show
from semla_ros.cli.options import claimed, positive, task
from semla_ros.errors import ConfigError

if TYPE_CHECKING:
    from semla_ros.library.base_model import BaseModel
    from semla_ros.library.comparison import LayerComparison
    from semla_ros.modeling.lora import Adapter

FORMATS = ".png", ".svg", ".pdf"


def add(library: Any) -> None:
    """Adds the subcommand."""
    compare = task(library, "compare", _compare, "show what two adapters change, layer by layer")
    compare.add_argument("first", metavar="A", help="name of an adapter, or path of its folder")
    compare.add_argument("second", metavar="B", help="name of another adapter, or path of its folder")
    compare.add_argument("-n", "--top", type=positive, default=10, help="layers in the table (%(default)s)")
    compare.add_argument("-o", "--out", type=Path, metavar="FILE", help="draw all layers to this file (PNG, SVG, PDF)")
    accepts_place(compare)


def _compare(args: argparse.Namespace) -> None:
    from semla_ros.library.comparison import compare

    if args.out and args.out.suffix.lower() not in FORMATS:
        raise ConfigError("no format of figures", where="--out", got=args.out, expected=" or ".join(FORMATS))
    claimed(args.out)
    bundle, folder = opened(args)
    paths = [adapter_path(name, folder) for name in (args.first, args.second)]
    base = base_of(bundle)
    first, second = (_loaded(path, base) for path in paths)
    layers, total = compare(first, second, base.acting)
    names = first.name, second.name
    _show(layers, total, names, args.top)
    if args.out:
        from semla_ros.cli.library.figure import draw

        draw(layers, names, args.out)
        print(f"{args.out}: written")


def _loaded(path: Path, base: BaseModel) -> Adapter:
    from semla_ros.library.adapter_folder import AdapterFolder

    folder = AdapterFolder(path, base.module_name)
    folder.check(base.layers, base.parameters)
    return folder.load()


def _show(layers: list[LayerComparison], total: LayerComparison, names: tuple[str, str], top: int) -> None:
    largest = sorted(layers, key=lambda each: max(each.first, each.second), reverse=True)[:top]
    table = new_table(f"{len(largest)} of {len(layers)} changed layers, the largest changes first")
    table.add_column("layer", no_wrap=True)
    for name in names:
        table.add_column(f"{name}, % of |W|", justify="right", no_wrap=True)
    table.add_column("cosine", justify="right", no_wrap=True)
    for each in (*largest, total):
        table.add_section() if each is total else None
        table.add_row(each.layer, f"{100 * each.first:.2f}", f"{100 * each.second:.2f}", f"{each.cosine:.2f}")
    show(table)
