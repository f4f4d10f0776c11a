"""``semla bench``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, claimed, config, flag, positive, refuse, settings, task
from semla_ros.errors import ConfigError

MOST_CLASSES = 256  # the official code, and our reference with it, pads to this number
FISA_SIZES = "fisa-vitb16", "fisa-vitl14"
IMAGES = ".png", ".svg", ".pdf"
SETTINGS = "config", "bundle", "set"
FISA_TABLES = "size", "repeats", "quick", "classes", "threads", "plot"  # the options that they depend on
TABLES = *FISA_TABLES, "adapters", "k", "rank"
OPTIONS = *TABLES, "rate", *SETTINGS


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    bench = task(tasks, "bench", _bench, "measure speed and memory; speed beside PEFT and a plain reference, as ratios")
    bench.add_argument(
        "--size", action="append", choices=("streetworld", "vitb16", "vitl14", *FISA_SIZES),
        help="model size, repeatable; the official sizes get random weights (streetworld and vitb16); those of FISA "
        "have tables of their own",
    )  # fmt: skip
    bench.add_argument("--repeats", type=positive, default=15, help="repetitions of the fast rows (%(default)s)")
    bench.add_argument("--quick", action="store_true", help="three repetitions")
    bench.add_argument("--classes", type=positive, default=19, help="classes of the official sizes (%(default)s)")
    bench.add_argument("--adapters", type=positive, default=20, help="adapters in the library (%(default)s)")
    bench.add_argument("--k", type=positive, default=5, help="adapters in a mixture (%(default)s)")
    bench.add_argument("--rank", type=positive, default=8, help="rank of the adapters (%(default)s)")
    bench.add_argument("--threads", type=positive, help="CPU threads (all cores)")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="plot how times grow with N, k and rank (PNG)")
    others = bench.add_argument_group("other measurements, each instead of the tables").add_mutually_exclusive_group()
    others.add_argument("--swaps", type=positive, metavar="N", help="N swaps at a steady rate: is any frame late?")
    others.add_argument(
        "--reloads", type=positive, metavar="N", help="N reloads of the library of the live node: is any frame late?"
    )
    others.add_argument(
        "--soak", type=positive, metavar="N",
        help="N frames in a pipeline and in the live node, with swaps, parameter changes and reloads of the library:"
        " do memory, threads or open files grow? (one hour at 10 Hz: 36000)",
    )  # fmt: skip
    others.add_argument("--startup", action="store_true", help="start of the node beside 'import torch' alone")
    others.add_argument(
        "--under-load", action="store_true", help="frames per second beside processes that use the cores, and without"
    )
    others.add_argument(
        "--batch", type=positive, metavar="N",
        help="batch mode on N images of each domain, with 1 and 2 workers, beside a fusion for each image",
    )  # fmt: skip
    others.add_argument("--gaps", type=positive, metavar="N", help="time and disk of a record of gaps of N images")
    others.add_argument(
        "--library",
        type=positive,
        metavar="N",
        help="a library of N adapters: time to open it and to look at a frame",
    )
    others.add_argument(
        "--cameras", type=positive, metavar="N", help="N cameras on one node, beside a node each: memory and speed"
    )
    bench.add_argument(
        "--rate", type=above_zero, default=10.0, help="frames per second of --swaps and --reloads (%(default)s)"
    )
    settings(bench)


def _bench(args: argparse.Namespace) -> None:
    other = next((name for name in OTHERS if getattr(args, name)), None)
    _check(args, other)
    claimed(args.json, args.plot)
    if other:
        _show(OTHERS[other][0](args), args.json)
    else:
        _tables(args)


def _check(args: argparse.Namespace, other: str | None) -> None:
    """Refuses what cannot be measured, and options without effect.

    Args:
        args: Parsed options.
        other: Name of the measurement in `OTHERS`; None for the tables.
    """
    if other:
        what, read = flag(other), OTHERS[other][1]
    else:
        what, read = ("the tables of FISA", FISA_TABLES) if _fisa_sizes(args) else ("the tables", TABLES)
    refuse(args, [name for name in OPTIONS if name not in read], what)
    if args.classes > MOST_CLASSES:
        raise ConfigError("too many classes", where="--classes", got=args.classes, expected=f"at most {MOST_CLASSES}")
    if args.k > args.adapters:
        raise ConfigError("more adapters than there are", where="--k", got=args.k, expected=f"at most {args.adapters}")
    if args.plot and args.plot.suffix.lower() not in IMAGES:
        raise ConfigError("no image file", where="--plot", got=args.plot, expected="a name in " + ", ".join(IMAGES))


def _tables(args: argparse.Namespace) -> None:
    import torch

    from semla_ros.bench.run import run
    from semla_ros.bench.subject import Options

    if args.threads:
        torch.set_num_threads(args.threads)
    repeats = 3 if args.quick else args.repeats
    if fisa := _fisa_sizes(args):
        _fisa_tables(args, fisa, repeats)
        return
    options = Options(args.classes, args.adapters, args.k, args.rank, repeats)
    run(args.size or ["streetworld", "vitb16"], options, args.json, args.plot)


def _fisa_sizes(args: argparse.Namespace) -> list[str]:
    return [size for size in args.size or [] if size in FISA_SIZES]


def _fisa_tables(args: argparse.Namespace, sizes: list[str], repeats: int) -> None:
    from semla_ros.bench.fisa import run

    if others := sorted(set(args.size) - set(sizes)):
        raise ConfigError("sizes of two kinds", where="--size", got=", ".join(others), expected="those of FISA alone")
    run(sizes, args.classes, repeats, args.json, args.plot)


def _swaps(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.stress import lateness, stress
    from semla_ros.pipeline.build import build_pipeline
    from semla_ros.pipeline.embedding import AsynchronousEmbedder

    every = 10
    pipeline = build_pipeline(stress(config(args), every, args.rate), AsynchronousEmbedder)
    return asdict(lateness(pipeline, _images(), args.swaps, args.rate, every))


def _reloads(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.reloads import reloads

    return asdict(reloads(_images()[0], args.reloads, args.rate, _differences(args)))


def _soak(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.live_soak import live_soak
    from semla_ros.bench.stress import soak, stress, stress_settings
    from semla_ros.pipeline.build import build_pipeline

    every, rate_hz, images = 20, 10.0, _images()
    figures = asdict(soak(build_pipeline(stress(config(args), every, rate_hz)), images, args.soak, every))
    given = {**_differences(args), **stress_settings(every, rate_hz), "navigator.max_share": 1.0}
    # The node with the default budget keeps all adapters in memory; with 1 MiB it reads them from disk at every swap.
    for name, budget in (("live", {}), ("live_small_budget", {"library.memory_mib": 1})):
        figures[name] = asdict(live_soak(images, args.soak, every, given | budget))
    return figures


def _startup(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.startup import startup

    given = [f"{name}:={json.dumps(value)}" for name, value in _differences(args).items()]
    return asdict(startup(given, 3 if args.quick else max(1, args.repeats // 2)))


def _under_load(args: argparse.Namespace) -> dict[str, Any]:
    import os

    from semla_ros.bench.under_load import under_load

    rounds, seconds = (1, 3.0) if args.quick else (15, 2.0)
    return asdict(under_load(_differences(args), rounds, seconds, len(os.sched_getaffinity(0))))


def _batch(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.batch_figures import batch_figures

    return asdict(batch_figures(config(args), args.batch))


def _gaps(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.gap_cost import gap_costs

    return {size: asdict(cost) for size, cost in gap_costs(config(args), args.gaps).items()}


def _library(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.library_scale import library_scale

    return asdict(library_scale(args.library))


def _cameras(args: argparse.Namespace) -> dict[str, Any]:
    from semla_ros.bench.cameras import sharing

    return asdict(sharing(args.cameras, 3.0 if args.quick else 30.0, _images(), _differences(args)))


# Each with the options that it depends on.
OTHERS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], tuple[str, ...]]] = {
    "swaps": (_swaps, ("rate", *SETTINGS)),
    "reloads": (_reloads, ("rate", *SETTINGS)),
    "soak": (_soak, SETTINGS),
    "startup": (_startup, ("repeats", "quick", *SETTINGS)),
    "under_load": (_under_load, ("quick", *SETTINGS)),
    "batch": (_batch, SETTINGS),
    "gaps": (_gaps, SETTINGS),
    "library": (_library, ()),
    "cameras": (_cameras, ("quick", *SETTINGS)),
}


def _images() -> list[Any]:
    from semla_ros.evaluation.rendered import HELD_OUT_SEED
    from semla_ros.streetworld.dataset import sample

    return [sample(domain, 0, HELD_OUT_SEED).rgb for domain in ("clear_day", "clear_night")]


def _differences(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that differ from the defaults, for processes of their own."""
    from semla_ros.config import NodeConfig, walk

    defaults = {path: value for path, _, value in walk(NodeConfig())}
    given = {path: value for path, _, value in walk(config(args)) if value != defaults[path]}
    return {path: list(value) if isinstance(value, tuple) else value for path, value in given.items()}


def _show(figures: dict[str, Any], file: Path | None) -> None:
    """Prints the figures, a line each, without the single samples; writes all of them as JSON."""
    for name, value in _flat(figures):
        print(f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}")
    if file:
        file.write_text(json.dumps(figures, indent=2) + "\n")


def _flat(figures: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, tuple):
            out.append((prefix + name, value))
    return out
