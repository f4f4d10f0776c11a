"""The executable ``semla_node``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from semla_ros.errors import SemlaError
from semla_ros.machine import limit_spinning
from semla_ros.node.environment import name_prefix
from semla_ros.node.shared_memory import remove_left_segments
from semla_ros.node.signals import Stopping, run_until_signal

if TYPE_CHECKING:
    from semla_ros.node.node import Build


ABOUT = """The ROS 2 node that segments a camera's images and adapts to their domain.

It subscribes to `image` and publishes `segmentation/...` and `domain/...`. Settings are ROS parameters, for example:
  semla_node --ros-args -r image:=/camera/image_raw -p model.bundle:=streetworld
  semla_node --ros-args --params-file config/semla.yaml
config/semla.yaml describes all of them; topics and services are in docs/node.md.
"""


def main(args: list[str] | None = None, build: Build | None = None) -> int:
    """Runs the node until SIGINT or SIGTERM, see `run_until_signal`.

    Args:
        args: Command line; None takes the process's own.
        build: Makes the pipeline; None loads the bundle that the settings name.

    Returns:
        Exit code: 0 after a signal, 1 if the node could not start, 2 if the command line is wrong.
    """
    return run_until_signal(lambda stopping: _run(stopping, args, build))


def _run(stopping: Stopping, args: list[str] | None, build: Build | None) -> int:
    name_prefix()
    limit_spinning()
    freed = remove_left_segments()
    _initialise(args)
    import rclpy

    try:
        return _spin(stopping, build, freed)
    except SemlaError as error:
        rclpy.logging.get_logger("semla").fatal(str(error))
        return 1
    finally:
        rclpy.shutdown()


def _initialise(args: list[str] | None) -> None:
    """Initialises rclpy. A wrong command line ends the process with exit code 2."""
    import rclpy  # takes seconds, and a signal must be noticed meanwhile
    from rclpy.signals import SignalHandlerOptions

    parser = argparse.ArgumentParser("semla_node", description=ABOUT, formatter_class=argparse.RawTextHelpFormatter)
    try:
        parser.parse_args(rclpy.utilities.remove_ros_args(args or sys.argv)[1:])  # there are only ROS arguments
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of types that differ between distributions
        parser.error(str(error).partition(", at ")[0])  # without the place in the source of rcl


def _spin(stopping: Stopping, build: Build | None, freed: int) -> int:
    """Runs the node; ``freed`` is how much shared memory was removed before, bytes."""
    from semla_ros.node.node import SemlaNode, build_bundle

    node = SemlaNode(build or build_bundle, stopping)
    try:
        if freed:
            node.get_logger().info(f"removed {freed / 1e6:.1f} MB of shared memory that killed processes had left")
        if node.config.autostart and not node.start():
            return 1
        node.spin()
        return 0
    finally:
        node.close()
        node.destroy_node()


if __name__ == "__main__":
    sys.exit(main())
