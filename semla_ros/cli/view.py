"""``semla view``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.options import above_zero, config, natural, settings, task
from semla_ros.errors import ConfigError

if TYPE_CHECKING:
    from semla_ros.node.signals import Stopping
    from semla_ros.view.live import LiveSource
    from semla_ros.view.player import Player

PORT, MAX_PORT = 8766, 65535


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    view = task(tasks, "view", _view, "show the running node or a recording in the browser and in Foxglove")
    view.add_argument(
        "recording", type=Path, nargs="?",
        help="bag with the node's outputs, or any recording that 'semla replay' reads, which is segmented while it is "
        "shown; without it the running node is shown",
    )  # fmt: skip
    view.add_argument("--node", default="", help="full name of the node, such as /robot_1/semla; default: any")
    view.add_argument(
        "--camera", default="", help="one camera of a node with several, such as front; default: the first"
    )
    view.add_argument("--images", type=Path, metavar="FILE", help="the camera's recording, for a bag with masks alone")
    view.add_argument("--topic", help="image topic of a bag, or of --images, that has several cameras")
    view.add_argument("--fps", type=above_zero, help="frame rate of image files, as for 'semla replay'")
    view.add_argument("--port", type=_port, default=PORT, help="port of the page and of Foxglove (%(default)s)")
    view.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on (%(default)s); with any other than a loopback address a token is asked for",
    )  # fmt: skip
    view.add_argument(
        "--token", help="token to ask for, at least 16 letters, digits and -._~; by default one is made if needed"
    )
    view.add_argument("--open", action="store_true", help="open the page in the browser of this machine")
    settings(view)


def _view(args: argparse.Namespace) -> None:
    from semla_ros.node.signals import run_until_signal

    failures: list[Exception] = []

    def work(stopping: Stopping) -> int:
        try:
            _serve(args, stopping)
        except Exception as error:  # reported in the main thread, as for all subcommands
            failures.append(error)
        return 0

    run_until_signal(work)
    if failures:
        raise failures[0]


def _serve(args: argparse.Namespace, stopping: Stopping) -> None:
    from semla_ros.view.access import Access
    from semla_ros.view.run import open_player, serve

    _check(args)
    access = Access(args.host, args.token)
    if args.recording:
        source: Player | LiveSource = open_player(args.recording, config(args), args.topic, args.fps, args.images)
    else:
        source = _live(args.node, args.camera)
    try:
        serve(source, access, args.port, stopping, lambda page, foxglove: _tell(args, page, foxglove))
    finally:
        source.close()


def _check(args: argparse.Namespace) -> None:
    """Refuses options that would have no effect."""
    given = ("images", "topic", "fps", "config", "bundle", "set")
    if wrong := next((name for name in given if not args.recording and getattr(args, name)), None):
        raise ConfigError(f"--{wrong} is for a recording", got="no recording", hint="The running node has its own.")
    for name in ("node", "camera"):
        if args.recording and getattr(args, name):
            raise ConfigError(f"--{name} is for the running node", got=args.recording, hint="Leave one of them out.")


def _live(node: str, camera: str) -> LiveSource:
    from semla_ros.node.environment import name_prefix

    name_prefix()
    from semla_ros.view.live import LiveSource

    return LiveSource(node, camera)


def _tell(args: argparse.Namespace, page: str, foxglove: str) -> None:
    print(f"Page:     {page}\nFoxglove: {foxglove}  (open connection, Foxglove WebSocket)", flush=True)
    if args.open:
        import webbrowser

        webbrowser.open(page)


def _port(text: str) -> int:
    """Parses the number of a port, for argparse."""
    if (port := natural(text)) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a port of at most {MAX_PORT}")
    return port
