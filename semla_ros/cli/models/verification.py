"""``semla models verify``: compares the files of a bundle with its manifests."""

from __future__ import annotations

import argparse
from typing import Any

from semla_ros.cli.options import task
from semla_ros.errors import BundleError
from semla_ros.text import counted


def add(models: Any) -> None:
    """Adds the subcommand."""
    about = "compare the files of a bundle with its manifests (SHA-256); the exit code is 1 if any differs"
    verify = task(models, "verify", _verify, about)
    verify.add_argument("bundle", metavar="BUNDLE", help="model bundle: path of a folder, or name of an installed one")
    verify.add_argument("--accept", action="store_true", help="accept the files as they are: write all manifests anew")


def _verify(args: argparse.Namespace) -> None:
    from semla_ros.library.bundle import ADAPTERS, Bundle, find_bundle
    from semla_ros.library.library_folder import LibraryFolder
    from semla_ros.library.manifest import differences, write_manifest
    from semla_ros.progress import ProgressBar

    path = find_bundle(args.bundle)
    folders = [path, *(LibraryFolder(path / ADAPTERS).paths if (path / ADAPTERS).is_dir() else ())]
    found: list[str] = []
    for folder in ProgressBar(folders, desc="verify", unit="folder", leave=False):
        found += differences(folder)
        if args.accept:
            write_manifest(folder)
    print("\n".join(found) or f"{path}: all files are those of the manifests (folders: {len(folders)})")
    if found and args.accept:
        print(f"{path}: accepted, and all manifests are written anew")
        Bundle.open(path)  # raises if what was accepted is no bundle
    elif found:
        raise BundleError(
            "bundle differs from its manifests", where=path, got=counted(len(found), "difference"),
            hint="Get the files again, or accept them with --accept.",
        )  # fmt: skip
