"""The executable ``semla_node``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from semla_ros.errors import SemlaError
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
    name_prefix()
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from semla_ros.node.node import SemlaNode, build_bundle

    rclpy.init(args=args)
    node: SemlaNode | None = None
    try:
        node = SemlaNode(build or build_bundle)
        if node.config.autostart and not node.start() and rclpy.ok():
            return 1
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SemlaError as error:
        rclpy.logging.get_logger("semla").fatal(str(error))
        return 1
    finally:
        if node:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
