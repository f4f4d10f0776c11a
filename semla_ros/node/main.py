"""The executable ``semla_node``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from semla_ros.errors import SemlaError
from semla_ros.machine import limit_spinning
from semla_ros.node.environment import name_prefix
from semla_ros.node.signals import Stopping, run_until_signal

if TYPE_CHECKING:
    from semla_ros.node.node import Build, SemlaNode


def main(args: list[str] | None = None, build: Build | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM, see `run_until_signal`.

    Args:
        args: Command line; None takes the process's own.
        build: Makes the pipeline; None loads the bundle that the settings name.

    Returns:
        Exit code: 0 after a signal, 1 if the node could not start.
    """
    return run_until_signal(lambda stopping: _run(stopping, args, build))


def _run(stopping: Stopping, args: list[str] | None, build: Build | None) -> int:
    name_prefix()
    limit_spinning()
    import rclpy  # takes seconds, and a signal must be noticed meanwhile
    from rclpy.signals import SignalHandlerOptions

    from semla_ros.node.node import SemlaNode, build_bundle

    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node: SemlaNode | None = None
    try:
        node = SemlaNode(build or build_bundle, stopping)
        if node.config.autostart and not node.start():
            return 1
        node.spin()
        return 0
    except SemlaError as error:
        rclpy.logging.get_logger("semla").fatal(str(error))
        return 1
    finally:
        if node:
            node.close()
            node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
