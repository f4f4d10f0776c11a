"""What ROS 2 from wheels needs in the environment before rclpy is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def name_prefix() -> None:
    """Points AMENT_PREFIX_PATH at this Python environment, where ROS 2 lives in it and nothing else is named.

    A sourced ROS installation sets the variable itself and is left alone.
    """
    if not os.environ.get("AMENT_PREFIX_PATH") and Path(sys.prefix, "share", "ament_index").is_dir():
        os.environ["AMENT_PREFIX_PATH"] = sys.prefix
