"""``semla demo``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import seed, task


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    demo = task(tasks, "demo", _demo, "run the live node on a rendered drive through four domains and write a report")
    demo.add_argument("-o", "--out", type=Path, default=Path("out/demo"), help="folder of the results (%(default)s)")
    demo.add_argument(
        "--seed", type=seed, default=3, help="seed of the drive; seeds 0 to 2 were used for tuning (%(default)s)"
    )
    demo.add_argument(
        "--bundle", default="", metavar="BUNDLE",
        help="model bundle: path of a folder, or name of an installed one (streetworld). It segments the classes of the"
        " drive, whatever its own ones are",
    )  # fmt: skip


def _demo(args: argparse.Namespace) -> None:
    from semla_ros.demo.run import run_demo
    from semla_ros.streetworld import CLASSES

    settings = {"model.bundle": args.bundle, "segmenter.classes": CLASSES} if args.bundle else {}
    run_demo(args.out, seed=args.seed, settings=settings)
