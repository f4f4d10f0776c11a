"""Files that come with the package: models and configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def shared(relative: str) -> Iterator[Path]:
    """Where a file or folder of ours may lie: in the source tree, or below share/ of what we are installed in.

    Args:
        relative: Its path in the source tree, such as ``models/streetworld``.
    """
    yield PACKAGE.parent / relative
    yield from (folder / "share/semla_ros" / relative for folder in PACKAGE.parents)
