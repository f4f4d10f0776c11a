"""``semla models``."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, group, positive, task
from semla_ros.errors import ConfigError


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    models = group(tasks, "models", "download published models and import them as bundles")
    get = task(models, "get", _get, "download and import published models as a bundle")
    get.add_argument("name", metavar="NAME", help="bundle to make: official (SemLA's published models)")
    get.add_argument("-o", "--out", type=Path, help="folder of the bundle (default: where --bundle NAME finds it)")
    _accepts_checksums(get)
    fetch = task(models, "fetch", _fetch, "list the published files, or download some of them")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="files to download; without a name, all are listed")
    _accepts_checksums(fetch)
    imported = task(models, "import", _import, "make a bundle of a segmenter, a library of adapters and a navigator")
    imported.add_argument(
        "--segmenter", type=Path, help="published checkpoint (.pth or .safetensors; CAT-Seg: model_large.pth)"
    )
    imported.add_argument(
        "--library", type=Path, help="one folder per adapter, or a zip file of them (SemLA: loradb.zip)"
    )
    imported.add_argument(
        "--navigator",
        default="openai",
        help="file with its state dict, or openai to download CLIP ViT-L/14 (%(default)s)",
    )
    imported.add_argument(
        "--mask-generator", type=Path, metavar="FOLDER",
        help="for --kind fisa, with --clip in place of the three options above: a Mask2Former of transformers, such as "
        "facebook/mask2former-swin-base-coco-panoptic",
    )  # fmt: skip
    imported.add_argument(
        "--clip", type=Path, metavar="FILE",
        help="for --kind fisa: state dict of a CLIP, with its open_clip_config.json beside it; or a bundle with one",
    )  # fmt: skip
    imported.add_argument("--clip-model", default="", metavar="NAME", help="open_clip's name of the model in that file")
    imported.add_argument(
        "--image-size", type=positive, default=896, metavar="PIXELS", help="side that --clip is shown (%(default)s)"
    )
    imported.add_argument(
        "--logit-scale", type=above_zero, default=0, metavar="X",
        help="factor of cosines before the softmax over classes (that in the file of --clip, or 100)",
    )  # fmt: skip
    imported.add_argument(
        "--navigator-model", default="", metavar="NAME",
        help="open_clip's name of the model in that file, such as ViT-L-14-quickgelu; "
        "not needed where its open_clip_config.json lies beside it",
    )  # fmt: skip
    verify = task(
        models, "verify", _verify,
        "compare the files of a bundle with its manifests (SHA-256); the exit code is 1 if any differs",
    )  # fmt: skip
    verify.add_argument("bundle", metavar="BUNDLE", help="model bundle: path of a folder, or name of an installed one")
    verify.add_argument("--accept", action="store_true", help="accept the files as they are: write all manifests anew")
    imported.add_argument("--kind", help="kind of the segmenter, as in bundle.yaml")
    imported.add_argument("--navigator-kind", help="kind of the navigator, as in bundle.yaml")
    imported.add_argument("-o", "--out", type=Path, required=True, help="folder of the bundle, which must not exist")


def _accepts_checksums(task: argparse.ArgumentParser) -> None:
    task.add_argument(
        "--accept-checksum", action="append", default=[], metavar="NAME=SHA256", type=_checksum,
        help="accept a file whose checksum is not the published one; repeatable",
    )  # fmt: skip


def _checksum(text: str) -> tuple[str, str]:
    name, _, checksum = text.partition("=")
    if not re.fullmatch("[0-9a-fA-F]{64}", checksum):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=SHA256 with 64 hexadecimal digits")
    return name, checksum.lower()


def _get(args: argparse.Namespace) -> None:
    from semla_ros.library.catalogue import RECIPES
    from semla_ros.library.downloads import bundles_folder

    if args.name not in RECIPES:
        raise ConfigError("unknown bundle", where="models get", got=args.name, expected=" or ".join(RECIPES))
    recipe, out = RECIPES[args.name], args.out or bundles_folder() / args.name
    fetched = _fetcher(args.accept_checksum, [recipe.segmenter, recipe.library, recipe.navigator])

    from semla_ros.library.recipes import get_bundle

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    _print_ready(get_bundle(recipe, out, fetched).path, args.name if args.out is None else None)


def _fetch(args: argparse.Namespace) -> None:
    fetched = _fetcher(args.accept_checksum, args.names)
    if not args.names:
        _list()
    for name in args.names:
        print(f"{name}: {fetched(name)}")


def _import(args: argparse.Namespace) -> None:
    from semla_ros.library.importing import import_models
    from semla_ros.modeling.base import DEFAULT_NAVIGATOR, DEFAULT_SEGMENTER

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    kinds = args.kind or DEFAULT_SEGMENTER, args.navigator_kind or DEFAULT_NAVIGATOR
    if args.mask_generator or args.clip:
        _import_parts(args, kinds[0])
        return
    for option in ("segmenter", "library"):
        if getattr(args, option) is None:
            raise ConfigError("missing option", where="models import", expected=f"--{option}")
    _print_ready(
        import_models(args.segmenter, args.library, args.navigator, args.out, *kinds, args.navigator_model).path
    )


def _verify(args: argparse.Namespace) -> None:
    from semla_ros.errors import AdapterError, BundleError
    from semla_ros.library.bundle import ADAPTERS, find_bundle
    from semla_ros.library.library_folder import LibraryFolder
    from semla_ros.library.manifest import differences, write_manifest
    from semla_ros.progress import ProgressBar

    path = find_bundle(args.bundle)
    folders = [path, *(LibraryFolder(path / ADAPTERS).paths if (path / ADAPTERS).is_dir() else ())]
    found: list[str] = []
    for folder in ProgressBar(folders, desc="verify", unit="folder", leave=False):
        if args.accept:
            write_manifest(folder)
        found += differences(folder, BundleError if folder == path else AdapterError)
    print("\n".join(found) or f"{path}: all files of {len(folders)} folders are those of the manifests")
    if found:
        raise BundleError(
            "bundle differs from its manifests", where=path, got=f"{len(found)} differences",
            hint="Get the files again, or accept them with --accept.",
        )  # fmt: skip


def _import_parts(args: argparse.Namespace, kind: str) -> None:
    from semla_ros.library.importing import import_parts

    for option in ("mask_generator", "clip"):
        if getattr(args, option) is None:
            raise ConfigError("missing option", where="models import", expected=f"--{option.replace('_', '-')}")
    bundle = import_parts(
        args.mask_generator, args.clip, args.out, kind, args.image_size, args.clip_model, args.logit_scale
    )
    _print_ready(bundle.path)
    print("It is not trained: its masks are classified by plain CLIP. semla train fisa trains it; until then its")
    print("library of adapters is empty, and all images are segmented by the base model.")


def _print_ready(path: Path, name: str | None = None) -> None:
    print(f"{path}: ready for --bundle {name or path}, or the node's parameter model.bundle")


def _fetcher(accepted: Sequence[tuple[str, str]], names: Sequence[str]) -> Callable[[str], Path]:
    """Returns a function that downloads a file by its name, and shows how far it is.

    Raises:
        ConfigError: One of ``names`` is unknown, or a checksum is for none of them.
    """
    from semla_ros.library.catalogue import CATALOGUE
    from semla_ros.library.downloads import cache_folder, fetch
    from semla_ros.progress import ProgressBar

    known, checksums = {each.name: each for each in CATALOGUE}, dict(accepted)
    if unknown := set(names) - known.keys():
        raise ConfigError("unknown file", where="models", got=", ".join(sorted(unknown)), expected=", ".join(known))
    if idle := checksums.keys() - set(names):
        raise ConfigError(
            "checksum without a file", where="--accept-checksum", got=", ".join(sorted(idle)), expected=names
        )

    def fetched(name: str) -> Path:
        with ProgressBar(desc=name, unit="B", unit_scale=True, unit_divisor=1024) as bar:

            def show(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return fetch(known[name], cache_folder(), show, checksums.get(name))

    return fetched


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from semla_ros.library.catalogue import CATALOGUE, RECIPES
    from semla_ros.library.downloads import CACHE, cache_folder, place_of

    table = Table(title=f"Downloads in {cache_folder()} (set ${CACHE} to move it)")
    for column in ("name", "content", "size", "licence"):
        table.add_column(column, no_wrap=column != "content")
    table.add_column("source", overflow="fold")
    for each in CATALOGUE:
        present = place_of(each, cache_folder()).exists()
        table.add_row(
            each.name, each.about, "[green]present[/green]" if present else each.size, each.licence, each.source
        )
    Console().print(table)
    for name, recipe in RECIPES.items():
        print(f"semla models get {name}: downloads and imports {recipe.about}")
