"""``semla train compare``: compares methods of training on StreetWorld."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from semla_ros.cli.options import positive, task
from semla_ros.cli.train.adapter import METHODS
from semla_ros.errors import ConfigError


def add(train: Any) -> None:
    """Adds the subcommand."""
    about = "compare methods on StreetWorld, in the domain of an adapter and in those it did not see; can be continued"
    compare = task(train, "compare", _compare, about)
    compare.add_argument("-o", "--out", type=Path, required=True, help="folder of data sets, checkpoints and results")
    compare.add_argument("--domains", default="fog_day,rain_night", help="domains to train on (%(default)s)")
    compare.add_argument(
        "--rates", default="lora=0.003,recyclelora=0.01", metavar="METHOD=LR,...",
        help="methods and their base learning rates (%(default)s)",
    )  # fmt: skip
    for name, default, about in (
        ("seeds", 3, "trainings per domain and method"), ("steps", 60, "steps per training"),
        ("batch", 16, "images per step"), ("images", 400, "training images per domain"),
        ("test-images", 40, "test images per domain"), ("test-seed", 1_000_001, "seed of the test images"),
    ):  # fmt: skip
        compare.add_argument(f"--{name}", type=positive, default=default, help=f"{about} (%(default)s)")


def _compare(args: argparse.Namespace) -> None:
    from semla_ros.training.comparison import Comparison, compare

    domains = tuple(name.strip() for name in args.domains.split(","))
    sizes = args.seeds, args.steps, args.batch, args.images, args.test_images, args.test_seed
    print(compare(Comparison(domains, _rates(args.rates), *sizes), args.out))


def _rates(text: str) -> dict[str, float]:
    """Parses METHOD=LR,... of known methods."""
    try:
        rates = {name.strip(): float(rate) for name, rate in (each.split("=") for each in text.split(","))}
    except ValueError:
        rates = {}
    if not rates or not set(rates) <= set(METHODS) or not all(0 < rate < math.inf for rate in rates.values()):
        expected = f"METHOD=LR,... with some of {', '.join(METHODS)}"
        raise ConfigError("no learning rates", where="--rates", got=text, expected=expected)
    return rates
