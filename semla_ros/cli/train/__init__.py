"""``semla train``: trains adapters, segmenters and the bundled models. One file per task."""

from __future__ import annotations

from typing import Any

from semla_ros.cli.options import group
from semla_ros.cli.train import adapter, captions, comparison, fisa, masks, world


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    train = group(tasks, "train", "train models")
    for each in (adapter, comparison, world, masks, fisa, captions):
        each.add(train)
