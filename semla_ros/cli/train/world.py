"""``semla train world``: renders StreetWorld and trains a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import task


def add(train: Any) -> None:
    """Adds the subcommand."""
    world = task(
        train,
        "world",
        _train,
        "render StreetWorld and train a bundle as models/streetworld was, three hours on two cores; continues where"
        " it was interrupted",
    )
    world.add_argument(
        "-o", "--out", type=Path, default=Path("out/streetworld"), help="folder of the bundle (%(default)s)"
    )
    world.add_argument(
        "--work", type=Path, default=Path("out/world"), help="folder of data sets, checkpoints and logs (%(default)s)"
    )


def _train(args: argparse.Namespace) -> None:
    from semla_ros.training.world import Recipe, train_world

    train_world(args.work, args.out, Recipe())
