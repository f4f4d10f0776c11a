"""``semla library build``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_place, opened
from semla_ros.cli.options import task
from semla_ros.errors import AdapterError, ConfigError
from semla_ros.text import counted

if TYPE_CHECKING:
    from semla_ros.errors import ImageError
    from semla_ros.modeling.base import Navigator


def add(library: Any) -> None:
    """Adds the subcommand."""
    about = "compute the statistics of adapters (centroid, mean distances, covariance) from their training images"
    build = task(library, "build", _build, about)
    build.add_argument(
        "images", type=Path, metavar="IMAGES_ROOT", help="folder with one sub-folder of images per adapter, of its name"
    )
    build.add_argument("names", nargs="*", metavar="NAME", help="adapters (all those that have no statistics yet)")
    build.add_argument(
        "--overwrite", action="store_true", help="also replace statistics that exist, for example for another navigator"
    )
    accepts_place(build)


def _build(args: argparse.Namespace) -> None:
    from semla_ros.library.image_statistics import images_of
    from semla_ros.pipeline.build import choose_device

    if not args.images.is_dir():
        raise ConfigError("no such folder", where="IMAGES_ROOT", got=args.images, expected="one sub-folder per adapter")
    bundle, folder = opened(args)
    paths = [folder.find(name) for name in args.names] or folder.paths
    chosen = [path for path in paths if args.overwrite or not _has_statistics(path)]
    if len(chosen) < len(paths):
        print(f"kept the statistics of {counted(len(paths) - len(chosen), 'adapter')}; --overwrite replaces them")
    images = {path: images_of(args.images, path.name) for path in chosen}
    if images:
        navigator = bundle.load_navigator()
        navigator.network.to(choose_device("auto"))
        for path, files in images.items():
            _build_one(path, files, navigator)


def _has_statistics(path: Path) -> bool:
    from semla_ros.library.adapter_folder import statistics_file

    return statistics_file(path).exists()


def _build_one(path: Path, files: list[Path], navigator: Navigator) -> None:
    from semla_ros.library.image_statistics import image_statistics, write_statistics
    from semla_ros.progress import ProgressBar

    skipped: list[ImageError] = []
    with ProgressBar(files, desc=path.name, unit="image") as bar:
        statistics = image_statistics(bar, navigator, skipped.append)
    for error in skipped:
        print(f"semla: skipped: {error}", file=sys.stderr)
    if statistics is None:
        raise AdapterError("no readable images for adapter", where=path.name, got=f"{len(skipped)} damaged files")
    write_statistics(statistics, path)
    damaged = f", {len(skipped)} damaged skipped" if skipped else ""
    print(f"{path.name}: {counted(len(files) - len(skipped), 'image')}{damaged}")
