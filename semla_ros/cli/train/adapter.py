"""``semla train adapter``: trains an adapter from images and label maps."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import Any

from semla_ros.cli.options import above_zero, natural, positive, refuse, seed, task
from semla_ros.errors import ConfigError
from semla_ros.text import counted

WITHOUT_EFFECT = {"lora": ("sub_rank",), "recyclelora": (), "full": ("rank", "sub_rank")}  # of options
METHODS = tuple(WITHOUT_EFFECT)
EPILOG = """\
presets (rank 8 unless noted; without --preset, the first that fits the size of the bundle's network and the method):
  small, small_recyclelora, small_full   networks such as the bundled one: 60 steps of 16 images
  acdc, muses, mapillary, bdd, cityscapes, general, indoor
                                         SemLA, supplement, section A: 2,000 to 20,000 steps of 2 or 4 images
  full                                   all parameters of a large network
  recyclelora, recyclelora_real          RecycleLoRA as published: rank 36 or 34, 40,000 steps of 4 images

A training that was interrupted continues when the same command is run again. Label maps are grey images of class ids
(0 is the first class, 255 is unlabelled) with the names of the images. Several GPUs: accelerate launch -m semla_ros.cli
train adapter ...
"""


def add(train: Any) -> None:
    """Adds the subcommand."""
    adapter = task(train, "adapter", _train, "train an adapter from your own images and label maps")
    adapter.epilog, adapter.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    adapter.add_argument("images", type=Path, help="folder of images, or <root>/leftImg8bit/<split> of Cityscapes")
    adapter.add_argument("labels", type=Path, help="folder of label maps, or <root>/gtFine/<split> of Cityscapes")
    adapter.add_argument(
        "-o", "--out", type=Path, required=True, metavar="LIBRARY/NAME", help="folder of the new adapter"
    )
    adapter.add_argument("--overwrite", action="store_true", help="replace an adapter of the same name")
    adapter.add_argument("--bundle", default="streetworld", help="bundle that the adapter is for (%(default)s)")
    adapter.add_argument(
        "--classes", type=Path, metavar="FILE",
        help="text file with one class per line, in the order of the ids; synonyms after commas (those of the bundle)",
    )  # fmt: skip
    adapter.add_argument("--method", choices=METHODS, default="lora", help="(%(default)s)")
    adapter.add_argument(
        "--preset", default="", metavar="NAME", help="settings, see below; the following five change single ones"
    )
    adapter.add_argument("--steps", type=positive, default=0, help="number of steps")
    adapter.add_argument("--batch", type=positive, default=0, help="images per step, over all GPUs")
    adapter.add_argument("--lr", type=above_zero, default=0, help="base learning rate")
    adapter.add_argument("--rank", type=positive, default=0, help="rank of the adapter")
    adapter.add_argument(
        "--sub-rank", type=positive, default=0, help="for recyclelora: part of the rank that is the sub adapter's"
    )
    adapter.add_argument(
        "--export-rank",
        type=positive,
        default=0,
        metavar="RANK",
        help="reduce the rank at the end, and print the error",
    )
    adapter.add_argument(
        "--validation-share", type=_share, default=0.1, metavar="SHARE",
        help="share of the images, the last ones, that is held out to measure the mIoU; 0 to 0.5 (%(default)s)",
    )  # fmt: skip
    adapter.add_argument(
        "--patience", type=natural, metavar="N",
        help="stop early after N validations without a higher mIoU; 0 never does. The presets for small networks have "
        "3 of 6 validations, the others 8 of 40, counted after the warm-up. The best state is kept",
    )  # fmt: skip
    adapter.add_argument(
        "--seed", type=seed, default=0, help="seed; the same one gives the same adapter on a CPU (%(default)s)"
    )
    adapter.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s: a GPU if there is one)"
    )


def _train(args: argparse.Namespace) -> None:
    from accelerate import PartialState

    from semla_ros.library.bundle import ADAPTERS, find_bundle
    from semla_ros.training.adapter import AdapterTask, train_adapter
    from semla_ros.training.adapter_card import names, result
    from semla_ros.training.presets import PRESETS

    if args.preset and args.preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=args.preset, expected=" or ".join(PRESETS))
    fitting = [name for name, preset in PRESETS.items() if preset.method == args.method]
    if args.preset and args.preset not in fitting:
        got = f"{args.preset} with the method {args.method}"
        hint = f"It is for --method {PRESETS[args.preset].method}."
        expected = " or ".join(fitting)
        raise ConfigError("preset for another method", where="--preset", got=got, expected=expected, hint=hint)
    refuse(args, WITHOUT_EFFECT[args.method], f"the method {args.method}")
    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr", "rank", "sub_rank", "patience")}
    outcome = train_adapter(
        AdapterTask(
            args.images, args.labels, args.out, args.bundle, _classes(args.classes), args.method, args.preset, changes,
            args.export_rank, args.validation_share, args.seed, args.device, args.overwrite,
        )
    )  # fmt: skip
    if not PartialState().is_main_process:
        return
    print(f"{args.out}: trained with {counted(outcome.images, 'image')}. {result(outcome)}")
    if outcome.replaced:
        print(f"The adapter of this name is now in {outcome.replaced}.")
    if outcome.skipped:
        print(f"Skipped ({len(outcome.skipped)}): {names(outcome.skipped)}")
    if args.export_rank:
        print(f"The rank was reduced to {args.export_rank} with a relative error of {outcome.rank_error:.2g}.")
    if outcome.best.miou < outcome.best.before:
        print("The adapter is worse than the base model on these images. Try more steps or another --lr.")
    if args.out.absolute().parent != (find_bundle(args.bundle) / ADAPTERS).absolute():
        print(f"To add it to the library: semla library add {quote(str(args.out))} --bundle {quote(args.bundle)}")


def _classes(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        classes = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
    except UnicodeDecodeError:
        classes = ()
    if not classes or len(set(classes)) < len(classes):
        raise ConfigError("no list of classes", where=file, expected="one class per line, each one once")
    return classes


def _share(text: str) -> float:
    """Parses a share from 0 to 0.5, for argparse."""
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 0.5:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number from 0 to 0.5")
    return share
