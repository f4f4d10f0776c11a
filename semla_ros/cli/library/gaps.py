"""``semla library gaps``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_place, base_of, opened
from semla_ros.cli.options import task
from semla_ros.errors import RecordingError
from semla_ros.text import counted

if TYPE_CHECKING:
    from semla_ros.gaps.section import Describe
    from semla_ros.library.adapter_library import AdapterLibrary
    from semla_ros.library.bundle import Bundle

REPORT = "report.html"


def add(library: Any) -> None:
    """Adds the subcommand."""
    about = "report the images that no adapter fits, and write them out as training sets that wait for labels"
    gaps = task(library, "gaps", _gaps, about)
    gaps.add_argument(
        "record", type=Path, metavar="RECORD",
        help="folder that the node or 'semla replay' recorded in, their setting gaps.folder",
    )  # fmt: skip
    gaps.add_argument(
        "-o", "--out", type=Path, required=True, help=f"new folder for {REPORT} and the training sets gap_1, gap_2, ..."
    )
    accepts_place(gaps)


def _gaps(args: argparse.Namespace) -> None:
    from semla_ros.gaps.report import percent, write_report
    from semla_ros.gaps.section import sections
    from semla_ros.gaps.training_set import write_training_set
    from semla_ros.pipeline.gap_record import GapRecord

    record = GapRecord(args.record)
    gaps = record.read()
    if gaps is None:
        hint = "Run the node or 'semla replay' with the setting gaps.folder, which names it."
        raise RecordingError("no record of gaps", where=args.record, hint=hint)
    _check_free(args.out)
    bundle, folder = opened(args)
    found = [
        # The report shows the copies, because a running node may remove images from its record.
        replace(each, images=write_training_set(args.out / each.folder, each.images, bundle.class_table()))
        for each in sections(gaps, record, _library(bundle, folder.path), _words(bundle))
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    write_report(args.out / REPORT, gaps, found, str(folder.path))
    share = percent(gaps.count, gaps.seen)
    print(f"{args.out / REPORT}: {gaps.count} of {gaps.seen} embedded images ({share}) are in gaps")
    for each in found:
        near = ", ".join(f"{other.name} {other.distance:.2f}" for other in each.neighbours)
        images = counted(each.gap.count, "image")
        print(f"  {each.folder}: {images}, {len(each.images)} to label; nearest adapters: {near}")
        if each.lost:
            print(f"    {counted(each.lost, 'example')} left out: the file is missing or damaged")
        if each.closed:
            print("    an adapter of the library fits these images now")


def _check_free(out: Path) -> None:
    """Raises a RecordingError if the folder holds files, which may be somebody's labels."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecordingError("output exists already", where=out, hint="Choose another name: it may hold labels.")


def _words(bundle: Bundle) -> Describe:
    """A function that describes centroids, as `semla library describe` does; without words where there is no table."""
    from semla_ros.library.captions import CAPTIONS, CaptionTable

    if not (bundle.path / CAPTIONS).exists():
        return lambda centroid: ""
    table = CaptionTable.load(bundle.path / CAPTIONS)
    return lambda centroid: table.describe(centroid).caption.text


def _library(bundle: Bundle, folder: Path) -> AdapterLibrary:
    from semla_ros.library.adapter_library import AdapterLibrary

    base = base_of(bundle)
    return AdapterLibrary(
        folder, base.layers, base.navigator.embed_dim, module_name=base.module_name, metric=base.metric.name
    )
