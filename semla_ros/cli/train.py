"""``semla train``: trains the bundled models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import group, positive, task


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    train = group(tasks, "train", "train models")
    world = task(
        train,
        "world",
        _train_world,
        "render StreetWorld and train everything in models/streetworld; continues where it was interrupted",
    )
    world.add_argument(
        "-o", "--out", type=Path, default=Path("models/streetworld"), help="folder of the bundle (%(default)s)"
    )
    world.add_argument(
        "--work", type=Path, default=Path("out/world"), help="folder of data sets, checkpoints and logs (%(default)s)"
    )
    captions = task(
        train,
        "captions",
        _train_captions,
        "write the captions that 'semla library describe' compares with the adapters of a StreetWorld bundle",
    )
    captions.add_argument("--bundle", default="streetworld", help="model bundle: path or name (%(default)s)")
    captions.add_argument("-n", "--images", type=positive, default=150, help="rendered images per domain (%(default)s)")


def _train_captions(args: argparse.Namespace) -> None:
    from semla_ros.library.bundle import Bundle, find_bundle
    from semla_ros.library.captions import CAPTIONS
    from semla_ros.training.captions import caption_table

    bundle = Bundle.open(find_bundle(args.bundle))
    table = caption_table(bundle, args.images)
    table.save(bundle.path / CAPTIONS)
    print(f"{bundle.path / CAPTIONS}: {len(table.captions)} captions")


def _train_world(args: argparse.Namespace) -> None:
    from semla_ros.training.world import Recipe, train_world

    train_world(args.work, args.out, Recipe())
