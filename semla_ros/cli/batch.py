"""``semla batch``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, config, positive, settings, task
from semla_ros.text import counted


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    about = "segment any number of images: cluster them, then adapt once for each cluster; continues after a kill"
    batch = task(tasks, "batch", _batch, about)
    batch.add_argument(
        "inputs", type=Path, nargs="+", metavar="INPUT",
        help="bag, video, image, or folder that holds any of them at any depth",
    )  # fmt: skip
    batch.add_argument(
        "-o", "--out", type=Path, required=True,
        help="folder of masks, confidences and manifest.jsonl; the same command continues an earlier run",
    )  # fmt: skip
    batch.add_argument(
        "--workers", type=positive, metavar="N",
        help="processes that compute (one for each GPU, else one for each core, at most 4)",
    )  # fmt: skip
    batch.add_argument(
        "--address", metavar="HOST:PORT",
        help="a running Ray cluster whose machines have the inputs, the bundle and the extra 'batch' (this machine)",
    )  # fmt: skip
    batch.add_argument(
        "--distance", type=above_zero, default=0.0,
        help="embedding distance between clusters; smaller gives more of them (the library's upper swap threshold)",
    )  # fmt: skip
    batch.add_argument("--topic", help="image topic of the bags, needed if a bag has several cameras")
    batch.add_argument("--fps", type=above_zero, help="frame rate of image files (10, or the times in the file names)")
    settings(batch)


def _batch(args: argparse.Namespace) -> None:
    from semla_ros.batch.run import BatchRun
    from semla_ros.batch.sources import find_sources
    from semla_ros.batch.workers import RayWorkers
    from semla_ros.errors import BatchError

    given = config(args)
    sources = find_sources(args.inputs, args.out, args.topic, args.fps)
    with RayWorkers(args.workers, args.address, given.model.threads, given.model.device) as workers:
        run = BatchRun(
            sources, args.out, given, workers, args.distance, lambda error: print(f"semla: {error}", file=sys.stderr)
        )
        summary = run.run()
    images = counted(summary.images, "image")
    print(f"{args.out}: {images} segmented, {summary.new} of them now, in {summary.total_s:.0f} s")
    parts = (summary.clusters, "cluster"), (summary.fusions, "fusion"), (summary.workers, "worker")
    print(f"  {', '.join(counted(*part) for part in parts)}")
    if summary.skipped:
        raise BatchError(
            "images were skipped", where=args.out / "manifest.jsonl",
            got=f"{summary.skipped} of {summary.skipped + summary.images}",
            hint="Repair or remove them; the same command then tries them again.",
        )  # fmt: skip
