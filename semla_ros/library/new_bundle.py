"""A bundle that appears under its name when it is complete."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from semla_ros.errors import BundleError


@contextmanager
def new_bundle(out: Path) -> Iterator[Path]:
    """Yields a path for the folder of a bundle in a hidden folder beside ``out``; the bundle is then moved to ``out``.

    The hidden folder may hold other files meanwhile. If the body fails, nothing is left.

    Args:
        out: Folder of the bundle. Missing parent folders are made.

    Raises:
        BundleError: ``out`` exists.
    """
    check_is_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        path = Path(place, out.name)
        yield path
        path.rename(out)


def check_is_new(out: Path) -> None:
    """Refuses a place for a bundle where something exists.

    Raises:
        BundleError: The path exists.
    """
    if out.exists():
        raise BundleError("the bundle exists already", where=out, hint="Choose another name.")
