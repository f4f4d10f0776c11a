"""Arguments for the node as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def parameter_arguments(settings: Mapping[str, Any]) -> list[str]:
    """Returns the ROS arguments that set parameters: ``-p NAME:=VALUE`` for each; they follow ``--ros-args``."""
    return [word for name, value in settings.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
