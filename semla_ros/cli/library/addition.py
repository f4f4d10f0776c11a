"""``semla library add`` and ``semla library remove``."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import Any

from semla_ros.cli.library.place import accepts_place, base_of, opened
from semla_ros.cli.options import task
from semla_ros.errors import AdapterError, ConfigError

RELOAD = "A running node takes the change with: ros2 service call /semla/reload_library std_srvs/srv/Trigger"


def add(library: Any) -> None:
    """Adds the subcommands."""
    adding = task(library, "add", _add, "check adapters and copy them into the library, all of them or none")
    adding.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="folder of an adapter; its name is kept"
    )
    adding.add_argument(
        "--overwrite", action="store_true", help="replace adapters of the same names; the old ones are removed as below"
    )
    adding.add_argument("--name", default="", help="name in the library, for a single adapter (that of its folder)")
    accepts_place(adding)
    about = "move adapters out of the library, all of them or none; they are kept in its hidden folder .removed"
    removing = task(library, "remove", _remove, about)
    removing.add_argument("names", nargs="+", metavar="NAME", help="name of an adapter")
    accepts_place(removing)


def _add(args: argparse.Namespace) -> None:
    from semla_ros.library.adapter_folder import AdapterFolder
    from semla_ros.library.findings import adapter_findings, same_centroids

    if args.name and len(args.folders) > 1:
        raise ConfigError("one name for several adapters", where="--name", got=args.name, hint="Add them one by one.")
    bundle, folder = opened(args)
    base, paths = base_of(bundle), [each.resolve() for each in args.folders]
    for path in paths:
        for finding in adapter_findings(path, base):
            raise AdapterError(f"{path.name} is not added: {finding.detail}")
    names = [args.name or path.name for path in paths]
    present = {path.name: path for path in folder.paths}
    for name, other in same_centroids(present | dict(zip(names, paths, strict=True))):
        if name in names:
            hint = "Retrieval could not tell them apart. Remove that one first, or train on other images."
            raise AdapterError(f"{name} is not added: its centroid is the same as that of {other}", hint=hint)
    adapters = [AdapterFolder(path, base.module_name) for path in paths]
    _print_moved(args, folder.add(adapters, args.overwrite, args.name))
    for name in names:
        print(f"{name}: added to {folder.path}")
    print(RELOAD)


def _remove(args: argparse.Namespace) -> None:
    _, folder = opened(args)
    _print_moved(args, folder.remove(args.names))
    if folder.paths:
        print(RELOAD)
    else:
        print(f"{folder.path} is empty now: a running node refuses to reload it, a new one segments without adapters")


def _print_moved(args: argparse.Namespace, moved: dict[str, Path]) -> None:
    given = {"--bundle": args.bundle, "--library": args.library}
    options = "".join(f" {name} {quote(str(value))}" for name, value in given.items() if value)
    for name, place in moved.items():
        print(f"{name}: moved to {place}")
        print(f"  to bring it back: semla library add {quote(str(place))}{options}")
