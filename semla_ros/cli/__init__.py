"""The command ``semla``, with one subcommand per task. A task imports its heavy modules when it runs."""

from __future__ import annotations

import argparse
import io
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from semla_ros import __version__
from semla_ros.cli import batch, bench, demo, evaluate, library, models, play, replay, train, view, world
from semla_ros.cli.extras import remedy
from semla_ros.errors import SemlaError
from semla_ros.machine import limit_spinning


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand. SIGTERM ends it with the exit code 143, after it has removed its temporary files.

    Args:
        argv: Command line without the name of the program; by default that of the process.

    Returns:
        Exit code: 0 for success, 1 for an error that was reported on standard error, 130 for an interruption.
    """
    limit_spinning()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that the terminal cannot show
    args = parser().parse_args(argv)
    try:
        with _ended_by_sigterm():
            args.run(args)
    except SemlaError as error:
        print(f"semla: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        missing = remedy(error)
        if missing is None:
            raise
        print(f"semla: {missing}", file=sys.stderr)
        return 1
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"semla: {error.strerror or error}{place}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("semla: interrupted", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is an exception here, so that temporary files are removed and started processes ended."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before, ours = signal.getsignal(signal.SIGTERM), lambda *_: sys.exit(128 + signal.SIGTERM)
    signal.signal(signal.SIGTERM, ours)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is ours:  # and not that of a task that handles signals by itself
            signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    """Builds the parser of all subcommands and their options."""
    top = argparse.ArgumentParser(prog="semla", description="Semantic segmentation that adapts to light and weather.")
    top.add_argument("--version", action="version", version=f"semla_ros {__version__}")
    tasks = top.add_subparsers(required=True, metavar="TASK")
    for each in (demo, view, replay, play, batch, evaluate, bench, models, library, train, world):
        each.add(tasks)
    return top
