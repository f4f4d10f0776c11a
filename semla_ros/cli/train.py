"""``semla train``: trains the bundled models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import group, task


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


def _train_world(args: argparse.Namespace) -> None:
    from semla_ros.training.world import Recipe, train_world

    train_world(args.work, args.out, Recipe())
