"""``semla train``: trains adapters and the bundled models."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, group, natural, positive, task
from semla_ros.errors import BundleError, ConfigError

RECIPES = ("bundled", "detailed")
METHODS = ("lora", "recyclelora", "full")
PRESETS = """\
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

FISA_PRESETS = """\
presets (without --preset, the first for networks such as the bundled one, else the second):
  small      1,500 steps of 8 images
  paper      25,000 steps of 16 crops of 1024 pixels, large-scale jittering of 0.1 to 2, as published
  ablation   the same with 10,000 steps, as in the paper's ablations
"""


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    train = group(tasks, "train", "train models")
    _add_adapter(train)
    _add_compare(train)
    world = task(
        train,
        "world",
        _train_world,
        "render StreetWorld and train a bundle such as the bundled one; continues where it was interrupted",
    )
    world.add_argument(
        "-o", "--out", type=Path, default=Path("out/streetworld"), help="folder of the bundle (%(default)s)"
    )
    world.add_argument(
        "--work", type=Path, default=Path("out/world"), help="folder of data sets, checkpoints and logs (%(default)s)"
    )
    world.add_argument(
        "--recipe", choices=RECIPES, default="bundled",
        help="bundled: the model in models/streetworld, an hour on two cores; detailed: sharper masks, more images and"
        " steps, for a GPU or a night (%(default)s)",
    )  # fmt: skip
    _add_masks(train)
    _add_fisa(train)
    captions = task(
        train,
        "captions",
        _train_captions,
        "write the captions that 'semla library describe' compares with the adapters of a StreetWorld bundle",
    )
    captions.add_argument("--bundle", default="streetworld", help="model bundle: path or name (%(default)s)")
    captions.add_argument("-n", "--images", type=positive, default=150, help="rendered images per domain (%(default)s)")


def _train_captions(args: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    from semla_ros.library.bundle import Bundle, find_bundle
    from semla_ros.library.captions import CAPTIONS
    from semla_ros.library.manifest import relist
    from semla_ros.training.captions import SCHEDULE, caption_table, embedded
    from semla_ros.training.device import accelerator_on
    from semla_ros.training.rendered import captioned
    from semla_ros.training.world import Recipe

    bundle, seed = Bundle.open(find_bundle(args.bundle)), Recipe().seed  # the streets that the navigator has seen
    pairs = embedded(bundle.load_navigator(), captioned(args.images, seed))
    with TemporaryDirectory() as work:
        table = caption_table(bundle, pairs, SCHEDULE, Path(work), seed, accelerator_on())
    table.save(bundle.path / CAPTIONS)
    relist(bundle.path / CAPTIONS, BundleError)
    print(f"{bundle.path / CAPTIONS}: {len(table.captions)} captions")


def _add_masks(train: Any) -> None:
    about = "train a small mask generator for FISA from panoptic ground truth; continues where it was interrupted"
    masks = task(train, "masks", _train_masks, about)
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
    masks.add_argument("--lr", type=above_zero, default=0, help="peak learning rate (0.0005)")
    masks.add_argument("--seed", type=natural, default=0, help="seed of initial weights and batches (%(default)s)")


def _train_masks(args: argparse.Namespace) -> None:
    from dataclasses import replace

    from semla_ros.training.mask_generator import SCHEDULE, train_masks

    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr") if getattr(args, name)}
    images = train_masks(args.images, args.annotations, args.out, replace(SCHEDULE, **changes), args.seed)
    print(f"{args.out}: trained with {images} images. The losses are in {args.out / 'training.csv'}.")


def _add_fisa(train: Any) -> None:
    about = "train FISA from panoptic ground truth; continues where it was interrupted"
    fisa = task(train, "fisa", _train_fisa, about)
    fisa.epilog, fisa.formatter_class = FISA_PRESETS, argparse.RawDescriptionHelpFormatter
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
    fisa.add_argument("--lr", type=above_zero, default=0, help="peak learning rate of SEVE")
    fisa.add_argument(
        "--adapter-layers",
        type=natural,
        metavar="N",
        help="convolutions of the Distribution Adapter (those of --bundle)",
    )
    fisa.add_argument("--seed", type=natural, default=0, help="seed of first weights and batches (%(default)s)")
    fisa.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s: a GPU if there is one)"
    )


def _train_fisa(args: argparse.Namespace) -> None:
    from semla_ros.training.fisa import PRESETS, FisaTask, train_fisa

    if args.preset and args.preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=args.preset, expected=" or ".join(PRESETS))
    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr")}
    fields = {} if args.adapter_layers is None else {"adapter_layers": args.adapter_layers}
    places = args.images, args.annotations, args.out, args.bundle
    images = train_fisa(FisaTask(*places, args.trained, args.preset, changes, fields, args.seed, args.device))
    print(f"{args.out}: trained with {images} images. The losses are in {args.out / 'training.csv'}.")


def _add_compare(train: Any) -> None:
    about = "compare methods on StreetWorld, in the domain of an adapter and in those it did not see; can be continued"
    compare = task(train, "compare", _train_compare, about)
    compare.add_argument("-o", "--out", type=Path, required=True, help="folder of data sets, checkpoints and results")
    compare.add_argument("--domains", default="fog_day,rain_night", help="domains to train on (%(default)s)")
    compare.add_argument(
        "--rates", default="lora=0.003,recyclelora=0.01", metavar="METHOD=LR,...",
        help="methods and their peak learning rates (%(default)s)",
    )  # fmt: skip
    for name, default, about in (
        ("seeds", 3, "trainings per domain and method"), ("steps", 60, "steps per training"),
        ("batch", 16, "images per step"), ("images", 400, "training images per domain"),
        ("test-images", 40, "test images per domain"), ("test-seed", 1_000_001, "seed of the test images"),
    ):  # fmt: skip
        compare.add_argument(f"--{name}", type=positive, default=default, help=f"{about} (%(default)s)")


def _add_adapter(train: Any) -> None:
    adapter = task(train, "adapter", _train_adapter, "train an adapter from your own images and label maps")
    adapter.epilog, adapter.formatter_class = PRESETS, argparse.RawDescriptionHelpFormatter
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
    adapter.add_argument("--lr", type=above_zero, default=0, help="peak learning rate")
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
        "--seed", type=natural, default=0, help="seed; the same one gives the same adapter on a CPU (%(default)s)"
    )
    adapter.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="(%(default)s: a GPU if there is one)"
    )


def _train_adapter(args: argparse.Namespace) -> None:
    from accelerate import PartialState

    from semla_ros.training.adapter import AdapterTask, train_adapter
    from semla_ros.training.adapter_card import result
    from semla_ros.training.presets import PRESETS

    if args.preset and args.preset not in PRESETS:
        raise ConfigError("no such preset", where="--preset", got=args.preset, expected=" or ".join(PRESETS))
    changes = {name: getattr(args, name) for name in ("steps", "batch", "lr", "rank", "sub_rank", "patience")}
    outcome = train_adapter(
        AdapterTask(
            args.images, args.labels, args.out, args.bundle, _classes(args.classes), args.method, args.preset, changes,
            args.export_rank, args.validation_share, args.seed, args.device, args.overwrite,
        )
    )  # fmt: skip
    if not PartialState().is_main_process:
        return
    print(f"{args.out}: trained with {outcome.images} images. {result(outcome)}")
    if outcome.skipped:
        print(f"{len(outcome.skipped)} images were skipped: {', '.join(path.name for path in outcome.skipped)}")
    if args.export_rank:
        print(f"The rank was reduced to {args.export_rank} with a relative error of {outcome.rank_error:.2g}.")
    if outcome.best.miou < outcome.best.before:
        print("The adapter is worse than the base model on these images. Try more steps or another --lr.")


def _train_compare(args: argparse.Namespace) -> None:
    from semla_ros.training.comparison import Comparison, compare

    domains = tuple(name.strip() for name in args.domains.split(","))
    sizes = args.seeds, args.steps, args.batch, args.images, args.test_images, args.test_seed
    print(compare(Comparison(domains, _rates(args.rates), *sizes), args.out))


def _rates(text: str) -> dict[str, float]:
    """Parses METHOD=LR,... of known methods."""
    try:
        rates = {name.strip(): float(rate) for name, rate in (each.split("=") for each in text.split(","))}
    except ValueError:
        rates = {}
    if not rates or not set(rates) <= set(METHODS) or not all(0 < rate < math.inf for rate in rates.values()):
        expected = f"METHOD=LR,... with some of {', '.join(METHODS)}"
        raise ConfigError("no learning rates", where="--rates", got=text, expected=expected)
    return rates


def _classes(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    classes = tuple(line.strip() for line in file.read_text().splitlines() if line.strip())
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


def _train_world(args: argparse.Namespace) -> None:
    from semla_ros.training.world import RECIPES, train_world

    train_world(args.work, args.out, RECIPES[args.recipe])
