"""``semla library``: looks after the adapters of a bundle. One file per task."""

from __future__ import annotations

from typing import Any

from semla_ros.cli.library import addition, building, check, comparison, description, gaps, inventory, labels
from semla_ros.cli.options import group


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    library = group(tasks, "library", "look after the adapters of a bundle")
    for each in (inventory, check, addition, building, description, comparison, gaps, labels):
        each.add(library)
