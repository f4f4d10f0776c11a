"""``semla train masks``: trains a mask generator for FISA."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, positive, seed, task
from semla_ros.text import counted


def add(train: Any) -> None:
    """Adds the subcommand."""
    about = "train a small mask generator for FISA from panoptic ground truth; continues where it was interrupted"
    masks = task(train, "masks", _train, about)
    masks.add_argument("images", type=Path, help="folder of images, such as DIR/images of 'semla world dataset'")
    masks.add_argument(
        "annotations", type=Path,
        help="JSON file in the panoptic format of COCO, with a folder of PNG files of the same name; such as"
        " DIR/panoptic.json of 'semla world dataset --layout coco'",
    )  # fmt: skip
    masks.add_argument(
        "-o", "--out", type=Path, required=True, help="new folder of the generator and of the log of its losses"
    )
    masks.add_argument("--steps", type=positive, default=0, help="number of steps (3000)")
    masks.add_argument("--batch", type=positive, default=0, help="images per step, over all GPUs (8)")
    masks.add_argument("--lr", type=above_zero, default=0, help="base learning rate (0.0005)")
    masks.add_argument("--seed", type=seed, default=0, help="seed of initial weights and batches (%(default)s)")


def _train(args: argparse.Namespace) -> None:
    from semla_ros.training.mask_generator import SCHEDULE, train_masks

    schedule = SCHEDULE.changed(args.steps, args.batch, args.lr)
    images = train_masks(args.images, args.annotations, args.out, schedule, args.seed)
    print(f"{args.out}: trained with {counted(images, 'image')}. The losses are in {args.out / 'training.csv'}.")
