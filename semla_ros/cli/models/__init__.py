"""``semla models``: makes, downloads and verifies model bundles. One file per task."""

from __future__ import annotations

from typing import Any

from semla_ros.cli.models import download, importing, verification
from semla_ros.cli.options import group


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    models = group(tasks, "models", "download, import and verify model bundles")
    for each in (download, importing, verification):
        each.add(models)
