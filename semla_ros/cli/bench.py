"""``semla bench``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, claimed, config, positive, settings, task
from semla_ros.errors import ConfigError

MOST_CLASSES = 256  # what the official code pads to, and the straightforward computation with it
IMAGES = ".png", ".svg", ".pdf"


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    bench = task(tasks, "bench", _bench, "how fast it is beside PEFT and the straightforward computation, as ratios")
    bench.add_argument(
        "--size", action="append", choices=("streetworld", "vitb16", "vitl14"),
        help="repeatable; the official sizes get random weights (streetworld and vitb16)",
    )  # fmt: skip
    bench.add_argument("--repeats", type=positive, default=15, help="of the quick rows (%(default)s)")
    bench.add_argument("--quick", action="store_true", help="three repeats")
    bench.add_argument("--classes", type=positive, default=19, help="of the official sizes (%(default)s)")
    bench.add_argument("--adapters", type=positive, default=20, help="in the library (%(default)s)")
    bench.add_argument("--k", type=positive, default=5, help="adapters in a mixture (%(default)s)")
    bench.add_argument("--rank", type=positive, default=8, help="of an adapter (%(default)s)")
    bench.add_argument("--threads", type=positive, help="of the CPU (torch's choice)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw how costs grow with N, k and rank (PNG)")
    bench.add_argument("--swaps", type=positive, metavar="N", help="instead: N swaps at a steady rate, who is late?")
    bench.add_argument("--rate", type=above_zero, default=10.0, help="of --swaps, frames a second (%(default)s)")
    bench.add_argument(
        "--soak", type=positive, metavar="N", help="instead: N frames, a swap every 20, does memory grow?"
    )
    settings(bench)


def _bench(args: argparse.Namespace) -> None:
    import torch

    if args.classes > MOST_CLASSES:
        raise ConfigError("too many classes", where="--classes", got=args.classes, expected=f"at most {MOST_CLASSES}")
    if args.k > args.adapters:
        raise ConfigError("not so many adapters", where="--k", got=args.k, expected=f"at most {args.adapters}")
    if args.plot and args.plot.suffix not in IMAGES:
        raise ConfigError("no image", where="--plot", got=args.plot, expected="a name in " + ", ".join(IMAGES))
    claimed(args.json, args.plot)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.swaps or args.soak:
        _restless(args)
        return
    from semla_ros.bench.run import run
    from semla_ros.bench.subject import Options

    repeats = 3 if args.quick else args.repeats
    options = Options(args.classes, args.adapters, args.k, args.rank, repeats)
    run(args.size or ["streetworld", "vitb16"], options, args.json, args.plot)


def _restless(args: argparse.Namespace) -> None:
    from semla_ros.bench.stress import lateness, soak, stress
    from semla_ros.evaluation.rendered import HELD_OUT_SEED
    from semla_ros.pipeline.build import build_pipeline
    from semla_ros.pipeline.embedding import AsynchronousEmbedder, SynchronousEmbedder
    from semla_ros.streetworld.dataset import sample

    every = 10 if args.swaps else 20
    images = [sample(domain, 0, HELD_OUT_SEED).rgb for domain in ("clear_day", "clear_night")]
    pipeline = build_pipeline(
        stress(config(args), every, args.rate), AsynchronousEmbedder if args.swaps else SynchronousEmbedder
    )
    if args.swaps:
        figures = asdict(lateness(pipeline, images, args.swaps, args.rate, every))
    else:
        figures = asdict(soak(pipeline, images, args.soak, every))
    shown = {name: f"{value:.2f}" if isinstance(value, float) else value for name, value in figures.items()}
    print("\n".join(f"{name}: {value}" for name, value in shown.items() if not isinstance(value, tuple)))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
