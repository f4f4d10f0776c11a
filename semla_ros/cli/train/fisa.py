"""``semla train fisa``: trains FISA from panoptic ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, natural, positive, seed, task
from semla_ros.errors import ConfigError
from semla_ros.text import counted

EPILOG = """\
presets (without --preset, the first for networks such as the bundled one, else the second):
  small      1,500 steps of 8 images
  paper      25,000 steps of 16 crops of 1024 pixels, large-scale jittering of 0.1 to 2, as published
  ablation   the same with 10,000 steps, as in the paper's ablations
"""


def add(train: Any) -> None:
    """Adds the subcommand."""
    about = "train FISA from panoptic ground truth; continues where it was interrupted"
    fisa = task(train, "fisa", _train, about)
    fisa.epilog, fisa.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    fisa.add_argument("images", type=Path, help="folder of images, such as COCO's train2017")
    fisa.add_argument(
        "annotations", type=Path,
        help="JSON file in the panoptic format of COCO, with a folder of PNG files of the same name",
    )  # fmt: skip
    fisa.add_argument("-o", "--out", type=Path, required=True, metavar="BUNDLE", help="folder of the new bundle")
    fisa.add_argument(
        "--bundle", required=True,
        help="bundle to begin with: its mask generator and CLIP are used; see 'semla models import --kind fisa'",
    )  # fmt: skip
    fisa.add_argument(
        "--trained", choices=("simo", "seve", "clip"), default="simo",
        help="what is trained: SEVE and CLIP's query projections; SEVE alone; SEVE and CLIP's whole image encoder "
        "(%(default)s)",
    )  # fmt: skip
    fisa.add_argument("--preset", default="", metavar="NAME", help="settings, see below; the following change some")
    fisa.add_argument("--steps", type=positive, default=0, help="number of steps")
    fisa.add_argument("--batch", type=positive, default=0, help="images per step, over all GPUs")
    fisa.add_argument("--lr", type=above_zero, default=0, help="base learning rate of SEVE")
    fisa.add_argument(
        "--adapter-layers",
        type=natural,
        metavar="N",
        help="convolutions of the Distribution Adapter (those of --bundle)",
    )
    fisa.add_argument("--seed", type=seed, default=0, help="seed of first weights and batches (%(default)s)")
    fisa.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s: a GPU if there is one)"
    )


def _train(args: argparse.Namespace) -> None:
    from semla_ros.training.fisa import PRESETS, FisaTask, train_fisa

    if args.preset and args.preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=args.preset, expected=" or ".join(PRESETS))
    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr")}
    fields = {} if args.adapter_layers is None else {"adapter_layers": args.adapter_layers}
    places = args.images, args.annotations, args.out, args.bundle
    images = train_fisa(FisaTask(*places, args.trained, args.preset, changes, fields, args.seed, args.device))
    print(f"{args.out}: trained with {counted(images, 'image')}. The losses are in {args.out / 'training.csv'}.")
