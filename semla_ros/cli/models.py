"""``semla models``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from semla_ros.cli.options import group, task
from semla_ros.errors import ConfigError


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    models = group(tasks, "models", "model bundles")
    fetched = task(models, "fetch", _fetch, "the published files a bundle is made of: lists them, or brings some")
    fetched.add_argument("names", nargs="*", metavar="NAME", help="of the list that no name at all prints")
    imported = task(models, "import", _import, "official CAT-Seg weights and a SemLA library as a bundle")
    imported.add_argument(
        "--segmenter", type=Path, required=True, help="CAT-Seg's model_final.pth (ViT-B/16, ViT-L/14@336)"
    )
    imported.add_argument("--library", type=Path, required=True, help="SemLA's loradb: the folder, or the zip of it")
    imported.add_argument(
        "--navigator", default="openai", help="'openai' lets open_clip fetch CLIP ViT-L/14, or a file (%(default)s)"
    )
    imported.add_argument(
        "--navigator-model", default="", metavar="NAME",
        help="open_clip's name of the model in that file, such as ViT-L-14-quickgelu; "
        "not needed where its open_clip_config.json lies beside it",
    )  # fmt: skip
    imported.add_argument("-o", "--out", type=Path, required=True, help="bundle to write")


def _fetch(args: argparse.Namespace) -> None:
    from semla_ros.library.catalogue import CATALOGUE
    from semla_ros.library.downloads import cache_folder

    known = {each.name: each for each in CATALOGUE}
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise ConfigError(
            "nothing of that name", where="models fetch", got=unknown, expected="one of " + ", ".join(known)
        )
    if not args.names:
        _list()
    brought = {name: _brought(known[name], cache_folder()) for name in args.names}
    for name, path in brought.items():
        print(f"{name}: {path}")
    if {"catseg-large", "semla-loradb"} <= brought.keys():
        files = f"--segmenter {brought['catseg-large']} --library {brought['semla-loradb']}"
        navigator = brought.get("clip-vit-l-14")
        model = f"{navigator} --navigator-model ViT-L-14-quickgelu" if navigator else "openai"
        print(f"next: semla models import {files} --navigator {model} -o official")


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from semla_ros.library.catalogue import CATALOGUE
    from semla_ros.library.downloads import CACHE, cache_folder, place_of

    table = Table(title=f"In {cache_folder()} (${CACHE} moves it)", caption="Licences are those of the code")
    for column in ("name", "what", "about", "licence"):
        table.add_column(column, no_wrap=column != "what")
    table.add_column("source", overflow="fold")
    for each in CATALOGUE:
        there = "[green]there[/green]" if place_of(each, cache_folder()).exists() else each.size
        table.add_row(each.name, each.about, there, each.licence, each.source)
    Console().print(table)


def _brought(download: Any, cache: Path) -> Path:
    from tqdm import tqdm

    from semla_ros.library.downloads import fetch

    with tqdm(desc=download.name, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return fetch(download, cache, show)


def _import(args: argparse.Namespace) -> None:
    from semla_ros.library.importing import import_models

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    bundle = import_models(args.segmenter, args.library, args.navigator, args.out, navigator_model=args.navigator_model)
    print(f"{bundle.path}: ready for --bundle {bundle.path}, or the node's model.bundle")
