"""``semla library describe``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semla_ros.cli.library.place import accepts_json, accepts_place, opened_with_adapters, write_json
from semla_ros.cli.library.table import new_table, show
from semla_ros.cli.options import claimed, task
from semla_ros.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from semla_ros.library.bundle import Bundle
    from semla_ros.library.captions import CaptionTable, Description
    from semla_ros.library.library_folder import LibraryFolder

SURE = 0.05  # margin below which an attribute is named as unsure


def add(library: Any) -> None:
    """Adds the subcommand."""
    about = "describe each adapter's centroid in words: place, weather, time of day and view (CLIP zero-shot)"
    describe = task(library, "describe", _describe, about)
    describe.add_argument(
        "--clip", type=Path, metavar="FILE",
        help="state dict of the published CLIP that the navigator is taken from (captions.npz of the bundle)",
    )  # fmt: skip
    describe.add_argument(
        "--clip-model", default="", metavar="NAME",
        help="open_clip's name of that model, such as ViT-L-14-quickgelu; "
        "not needed where its open_clip_config.json lies beside it",
    )  # fmt: skip
    describe.add_argument(
        "--captioner", type=Path, metavar="FOLDER",
        help="caption an example image of each adapter with this BLIP-2 (local files of transformers) instead",
    )  # fmt: skip
    describe.add_argument(
        "--images", type=Path, metavar="IMAGES_ROOT", help="for --captioner: one sub-folder of images per adapter"
    )
    accepts_json(describe, "captions")
    accepts_place(describe)


def _describe(args: argparse.Namespace) -> None:
    if bool(args.captioner) != bool(args.images):
        raise ConfigError("one option without the other", where="--captioner, --images", expected="both or none")
    if args.clip and args.captioner:
        raise ConfigError("two ways to describe", where="--clip, --captioner", expected="one of them")
    if args.clip_model and not args.clip:
        raise ConfigError("option without effect", where="--clip-model", expected="--clip FILE with it")
    claimed(args.json)
    bundle, folder = opened_with_adapters(args)
    if args.captioner:
        found: dict[str, Any] = _of_examples(bundle, folder, args.captioner, args.images)
        for name, text in found.items():
            print(f"{name}: {text}")
    else:
        descriptions = _of_centroids(folder, _table(bundle, args.clip, args.clip_model))
        _show(descriptions)
        found = {name: asdict(each) | {"text": each.caption.text} for name, each in descriptions.items()}
    write_json(args.json, found)


def _table(bundle: Bundle, clip: Path | None, model: str) -> CaptionTable:
    from semla_ros.library.captions import CAPTIONS, CaptionTable, vocabulary

    if clip:
        from semla_ros.library.checkpoints import read_state
        from semla_ros.modeling.clip.published import text_encoder

        return CaptionTable.encoded(vocabulary(), text_encoder(read_state(clip), str(clip), model))
    if not (bundle.path / CAPTIONS).exists():
        raise BundleError(
            "no captions for the navigator", where=bundle.path, expected=CAPTIONS,
            hint="For a published CLIP give its file: --clip FILE --clip-model ViT-L-14-quickgelu is SemLA's.",
        )  # fmt: skip
    return CaptionTable.load(bundle.path / CAPTIONS)


def _of_centroids(folder: LibraryFolder, table: CaptionTable) -> dict[str, Description]:
    from semla_ros.library.adapter_folder import read_statistics

    return {path.name: table.describe(read_statistics(path).centroid) for path in folder.paths}


def _of_examples(bundle: Bundle, folder: LibraryFolder, captioner: Path, images: Path) -> dict[str, str]:
    from semla_ros.library.adapter_folder import read_statistics
    from semla_ros.library.captioner import Captioner, typical_image
    from semla_ros.library.image_statistics import images_of
    from semla_ros.progress import ProgressBar

    files = {path: images_of(images, path.name) for path in folder.paths}
    writer, navigator = Captioner(captioner), bundle.load_navigator()
    return {
        path.name: writer.caption(typical_image(files[path], read_statistics(path).centroid, navigator))
        for path in ProgressBar(folder.paths, desc="captions", unit="adapter")
    }


def _show(descriptions: dict[str, Description]) -> None:
    table = new_table("The caption that fits each centroid best")
    for column in ("adapter", "caption", "unsure of"):
        table.add_column(column, no_wrap=column == "adapter")
    table.add_column("cosine", justify="right")
    for name, each in descriptions.items():
        unsure = ", ".join(attribute for attribute, margin in each.margins.items() if margin < SURE)
        table.add_row(name, each.caption.text, unsure, f"{each.score:.2f}")
    show(table)
