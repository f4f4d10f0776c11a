"""``semla library labels``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from semla_ros.cli.options import task
from semla_ros.errors import ImageError


def add(library: Any) -> None:
    """Adds the subcommand."""
    labels = task(library, "labels", _labels, "make label maps of the masks that were painted in CVAT")
    labels.add_argument(
        "export", type=Path, metavar="EXPORT", help='CVAT\'s export in the format "Segmentation mask 1.1", a zip file'
    )
    labels.add_argument("folder", type=Path, metavar="SET", help="training set, as 'semla library gaps' writes it")


def _labels(args: argparse.Namespace) -> None:
    from semla_ros.gaps.exported_masks import write_labels

    done = write_labels(args.export, args.folder)
    for error in done.errors:
        print(f"semla: skipped: {error}", file=sys.stderr)
    print(f"{args.folder}: {done.written} label maps written")
    if done.missing:
        print(f"  not labelled yet: {len(done.missing)} images, {', '.join(done.missing[:3])}, ...")
    if done.errors or not done.written:
        raise ImageError("masks were skipped" if done.errors else "no masks", where=args.export, got=len(done.errors))
