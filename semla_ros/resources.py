"""Files that are installed with the package: models and configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shared(relative: str) -> Iterator[Path]:
    """Yields the places where a file or folder of the project may lie, the most likely one first.

    These are the source tree, and ``share/semla_ros`` below each folder that contains the installed package.

    Args:
        relative: Path in the source tree, such as ``models/streetworld``.
    """
    yield PACKAGE.parent / relative
    yield from (folder / "share/semla_ros" / relative for folder in PACKAGE.parents)
