"""The environment that rclpy from PyPI wheels needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def name_prefix() -> None:
    """Sets AMENT_PREFIX_PATH to this Python environment if ROS 2 wheels are installed in it.

    Call it before rclpy is imported. A variable that is set already, as by a sourced ROS installation, is not changed.
    """
    if not os.environ.get("AMENT_PREFIX_PATH") and Path(sys.prefix, "share", "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = sys.prefix
