"""The executable ``semla_node``."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

from semla_ros.errors import SemlaError
from semla_ros.machine import limit_spinning
from semla_ros.node.environment import name_prefix

if TYPE_CHECKING:
    from semla_ros.node.node import Build, SemlaNode


def main(args: list[str] | None = None, build: Build | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM.

    Args:
        args: Command line; None takes the process's own.
        build: Makes the pipeline; None loads the bundle that the settings name.

    Returns:
        Exit code: 0 when it was told to stop, 1 when it could not start.
    """
    _on_signal(signal.default_int_handler)
    try:
        return _run(args, build)
    except KeyboardInterrupt:
        return 0


def _run(args: list[str] | None, build: Build | None) -> int:
    name_prefix()
    limit_spinning()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from semla_ros.node.node import SemlaNode, build_bundle

    # rclpy's own handlers would invalidate the context under the worker's hands, and under the loading of models.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node: SemlaNode | None = None
    try:
        node = SemlaNode(build or build_bundle)
        if node.config.autostart and not node.start():
            return 1
        rclpy.spin(node)  # its timers wake it often enough to notice a signal
        return 0
    except SemlaError as error:
        rclpy.logging.get_logger("semla").fatal(str(error))
        return 1
    finally:
        _on_signal(signal.SIG_IGN)
        if node:
            node.close()
            node.destroy_node()
        rclpy.shutdown()


def _on_signal(handler: Any) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main())
