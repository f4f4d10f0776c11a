"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from semla_ros.config import NodeConfig, changed, load
from semla_ros.errors import ConfigError
from semla_ros.plain_yaml import parse_yaml

LARGEST_SEED = 2**31 - 1
Run = Callable[[argparse.Namespace], None]


def task(tasks: Any, name: str, run: Run, about: str) -> argparse.ArgumentParser:
    """Adds a subcommand."""
    out: argparse.ArgumentParser = tasks.add_parser(name, help=about, description=_sentence(about))
    out.set_defaults(run=run, parser=out)
    return out


def group(tasks: Any, name: str, about: str) -> Any:
    """Adds a subcommand that has subcommands of its own; returns the place to add them."""
    out = tasks.add_parser(name, help=about, description=_sentence(about))
    return out.add_subparsers(required=True, metavar="WHAT")


def settings(task: argparse.ArgumentParser) -> None:
    """Adds the options that `config` reads."""
    task.add_argument("--config", type=Path, metavar="FILE", help="YAML file of settings, such as paper_table6.yaml")
    task.add_argument("--bundle", help="model bundle: path of a folder, or name of an installed one (streetworld)")
    task.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, for example fusion.k=3; repeatable",
    )


def config(args: argparse.Namespace) -> NodeConfig:
    """Returns the settings of ``--config``, ``--set`` and ``--bundle``.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """
    base = load(NodeConfig(), args.config) if args.config else NodeConfig()  # files may hold settings of the node, too
    pairs = [item.partition("=") for item in args.set]
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError("setting without a value", where="--set", got=key, expected="KEY=VALUE")
    given = {key: parse_yaml(value, f"--set {key}") for key, _, value in pairs}
    return changed(base, given | ({"model.bundle": args.bundle} if args.bundle else {}))


def refuse(args: argparse.Namespace, names: Iterable[str], what: str) -> None:
    """Refuses options that would have no effect.

    Args:
        args: Parsed options.
        names: Names of the options without effect, as in `args`.
        what: What they have no effect on.

    Raises:
        ConfigError: One of them is given.
    """
    for name in names:
        if getattr(args, name) != args.parser.get_default(name):
            raise ConfigError(f"{flag(name)} has no effect on {what}", got=getattr(args, name), hint="Leave it out.")


def flag(name: str) -> str:
    """An option as it is typed, such as "--image-size", by its name in parsed options, "image_size"."""
    return f"--{name.replace('_', '-')}"


def natural(text: str, least: int = 0) -> int:
    """Parses a whole number of at least ``least``, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least {least}")
    return int(text)


def positive(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    return natural(text, 1)


def seed(text: str) -> int:
    """Parses the seed of random generators, for argparse."""
    number = natural(text)
    if number > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected at most {LARGEST_SEED}")
    return number


def above_zero(text: str) -> float:
    """Parses a finite number above 0, for argparse."""
    return _number(text, "a number above 0", lambda number: number > 0)


def zero_or_more(text: str) -> float:
    """Parses a finite number of at least 0, for argparse."""
    return _number(text, "a number, 0 or more", lambda number: number >= 0)


def _number(text: str, expected: str, is_valid: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and is_valid(number)):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected {expected}")
    return number


def claimed(*files: Path | None) -> None:
    """Checks that result files can be written, before the work begins whose result would otherwise be lost.

    Existing files keep their content until the result is there.

    Raises:
        OSError: A file cannot be written.
    """
    for file in filter(None, files):
        file.parent.mkdir(parents=True, exist_ok=True)
        is_new = not file.exists()
        file.open("a").close()
        if is_new:
            file.unlink()


def _sentence(about: str) -> str:
    return about[0].upper() + about[1:] + ("" if about.endswith("?") else ".")
