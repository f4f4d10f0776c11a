"""``semla models import``: a bundle of a segmenter, a library of adapters and a navigator."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, flag, positive, task
from semla_ros.errors import ConfigError

IMAGE_SIZE = 896  # pixels


def add(models: Any) -> None:
    """Adds the subcommand."""
    about = "make a bundle of a segmenter, a library of adapters and a navigator"
    imported = task(models, "import", _import, about)
    imported.add_argument(
        "--segmenter", type=Path, help="published checkpoint (.pth or .safetensors; CAT-Seg: model_large.pth)"
    )
    imported.add_argument(
        "--library", type=Path, help="one folder per adapter, or a zip file of them (SemLA: loradb.zip)"
    )
    imported.add_argument(
        "--navigator",
        help="file with its state dict, or openai to download CLIP ViT-L/14 (openai)",
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
        "--image-size", type=positive, metavar="PIXELS", help=f"side that --clip is shown ({IMAGE_SIZE})"
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
    imported.add_argument("--kind", help="kind of the segmenter, as in bundle.yaml")
    imported.add_argument("--navigator-kind", help="kind of the navigator, as in bundle.yaml")
    imported.add_argument("-o", "--out", type=Path, required=True, help="folder of the bundle, which must not exist")


def print_ready(path: Path, name: str | None = None) -> None:
    """Prints how a new bundle is used, by its name if it is installed."""
    print(f"{path}: ready for --bundle {name or path}, or the node's parameter model.bundle")


def _import(args: argparse.Namespace) -> None:
    from semla_ros.library.importing import import_models
    from semla_ros.modeling.base import DEFAULT_NAVIGATOR, DEFAULT_SEGMENTER, segmenter_kind

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    kinds = args.kind or DEFAULT_SEGMENTER, args.navigator_kind or DEFAULT_NAVIGATOR
    if args.mask_generator or args.clip or segmenter_kind(kinds[0]).from_parts:
        _import_parts(args, kinds[0])
        return
    _need(args, "segmenter", "library")
    _refuse(args, "A checkpoint says it itself.", "clip_model", "image_size", "logit_scale")
    print_ready(
        import_models(
            args.segmenter, args.library, args.navigator or "openai", args.out, *kinds, args.navigator_model
        ).path
    )


def _import_parts(args: argparse.Namespace, kind: str) -> None:
    from semla_ros.library.importing_parts import import_parts

    _need(args, "mask_generator", "clip")
    hint = "The CLIP is the navigator, too; the library is empty."
    _refuse(args, hint, "segmenter", "library", "navigator", "navigator_model", "navigator_kind")
    size = args.image_size or IMAGE_SIZE
    bundle = import_parts(args.mask_generator, args.clip, args.out, kind, size, args.clip_model, args.logit_scale)
    print_ready(bundle.path)
    print("It is not trained: its masks are classified by plain CLIP. semla train fisa trains it; until then its")
    print("library of adapters is empty, and all images are segmented by the base model.")


def _refuse(args: argparse.Namespace, hint: str, *names: str) -> None:
    """Refuses options without effect."""
    unused = [flag(name) for name in names if getattr(args, name)]
    if unused:
        raise ConfigError("option of another kind of import", where="models import", got=unused, hint=hint)


def _need(args: argparse.Namespace, *names: str) -> None:
    missing = [flag(name) for name in names if getattr(args, name) is None]
    if missing:
        raise ConfigError("missing option", where="models import", expected=" and ".join(missing))
