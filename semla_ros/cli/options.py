"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from semla_ros.config import Config, changed, load
from semla_ros.errors import ConfigError

Run = Callable[[argparse.Namespace], None]


def task(tasks: Any, name: str, run: Run, about: str) -> argparse.ArgumentParser:
    """Adds a subcommand."""
    out: argparse.ArgumentParser = tasks.add_parser(name, help=about, description=_sentence(about))
    out.set_defaults(run=run)
    return out


def group(tasks: Any, name: str, about: str) -> Any:
    """Adds a subcommand that has subcommands of its own."""
    out = tasks.add_parser(name, help=about, description=_sentence(about))
    return out.add_subparsers(required=True, metavar="WHAT")


def settings(task: argparse.ArgumentParser) -> None:
    """Adds the options that `config` reads."""
    task.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings, such as config/paper_table6.yaml")
    task.add_argument("--bundle", help="model bundle: a folder, or the name of a bundled one (streetworld)")
    task.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as fusion.k=3; repeatable"
    )


def config(args: argparse.Namespace) -> Config:
    """The settings asked for.

    Raises:
        ConfigError: One is unknown or wrong.
    """
    base = load(Config(), args.config) if args.config else Config()
    pairs = [item.partition("=") for item in args.set]
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError("setting without a value", where="--set", got=key, expected="KEY=VALUE")
    try:
        given: dict[str, Any] = {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise ConfigError(
            "setting is not YAML", where="--set", got=args.set, hint=" ".join(str(error).split())
        ) from error
    return changed(base, given | ({"model.bundle": args.bundle} if args.bundle else {}))


def natural(text: str, least: int = 0) -> int:
    """A whole number from ``least``, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from {least}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    return natural(text, 1)


def above_zero(text: str) -> float:
    """A finite number above 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
    return number


def claimed(*files: Path | None) -> None:
    """Creates result files, so that hours of work do not end at a place where nothing can be written.

    Raises:
        OSError: One cannot be written.
    """
    for file in filter(None, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()


def _sentence(about: str) -> str:
    return about[0].upper() + about[1:] + ("" if about.endswith("?") else ".")
