"""``semla evaluate``: leave-one-out evaluation of an adapter library, and of its out-of-distribution flag."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semla_ros.cli.options import claimed, config, flag, positive, refuse, settings, task
from semla_ros.errors import ConfigError

METHODS = "zero_shot,uniform,semla,oracle"
SEMLA_OPTIONS = {"split": "val", "short_side": 640, "long_side": 2560}  # of the paper's protocol, with defaults


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    about = (
        "leave-one-out mIoU of an adapter library on domains whose own adapter is removed,"
        " or how often its out-of-distribution flag is right"
    )
    evaluate = task(tasks, "evaluate", _evaluate, about)
    evaluate.add_argument(
        "--protocol", choices=("streetworld", "semla", "panoptic", "ood"), default="streetworld",
        help="streetworld: rendered images; semla: the protocol of the paper on data sets of your own; panoptic: data"
        " sets of your own in the panoptic format of COCO; ood: share of real and of rendered images that are flagged"
        " as out of distribution (%(default)s)",
    )  # fmt: skip
    evaluate.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="for semla: folder with one subfolder per domain in the layout of Cityscapes; for panoptic: one with"
        " images/, panoptic/ and panoptic.json; for ood: folder of real recordings (videos, bags, folders of images)",
    )
    evaluate.add_argument("--split", help="for semla: split to evaluate (val)")
    evaluate.add_argument(
        "--mode",
        choices=("sliding", "plain"),
        help="sliding window or whole image (semla: sliding, others: plain)",
    )
    evaluate.add_argument("--short-side", type=positive, help="for semla: shorter side after resizing, pixels (640)")
    evaluate.add_argument("--long-side", type=positive, help="for semla: upper limit of the longer side, pixels (2560)")
    evaluate.add_argument("--methods", default=METHODS, help="comma-separated, some of %(default)s")
    evaluate.add_argument(
        "--oracle", choices=("masks", "classes"),
        help="for segmenters that classify masks, such as FISA: true masks or classes replace the segmenter's own."
        " The higher score tells which half limits the segmenter",
    )  # fmt: skip
    evaluate.add_argument("--images", type=positive, help="images per domain or recording (40; semla, panoptic: all)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the scores to this file")
    settings(evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from semla_ros.evaluation.leave_one_out import LeaveOneOut
    from semla_ros.evaluation.table import as_json, as_table
    from semla_ros.pipeline.build import build_pipeline

    methods = _methods(args.methods)
    _take_semla_options(args)
    if args.protocol in DATASETS and not args.data:
        raise ConfigError("no data sets", where="--data", expected="a folder with one subfolder per domain")
    if args.protocol == "ood":
        _out_of_distribution(args)
        return
    if args.protocol not in DATASETS and args.data:
        raise ConfigError("StreetWorld needs no data sets", where="--data", got=args.data, hint="Add --protocol semla.")
    claimed(args.json)
    pipeline = build_pipeline(config(args))
    datasets, inference = DATASETS.get(args.protocol, _streetworld)(args, pipeline)
    scores = LeaveOneOut(pipeline, inference, methods).run(datasets)
    print(as_table(scores, [each.name for each in datasets]))
    for each in datasets:
        _print_skipped(each)
    if args.json:
        metadata = _metadata(args, pipeline, inference, datasets) if args.protocol in DATASETS else {}
        args.json.write_text(json.dumps({**metadata, **as_json(scores)}, indent=2, allow_nan=False) + "\n")


def _out_of_distribution(args: argparse.Namespace) -> None:
    from itertools import chain

    from semla_ros.evaluation.out_of_distribution import OutOfDistribution, as_table
    from semla_ros.pipeline.build import build_pipeline

    refuse(args, ("methods", "mode", "oracle"), "--protocol ood")
    claimed(args.json)
    evaluation = OutOfDistribution(build_pipeline(config(args)), args.images or 40)
    real = evaluation.real(args.data) if args.data else ()
    rates = list(chain(real, evaluation.rendered()))
    print(as_table(rates))
    if args.json:
        args.json.write_text(json.dumps([asdict(each) for each in rates], indent=2) + "\n")


def _take_semla_options(args: argparse.Namespace) -> None:
    """Puts in the defaults of the options that belong to the paper's protocol; other protocols refuse the options."""
    for name, default in SEMLA_OPTIONS.items():
        given = getattr(args, name)
        if given is not None and args.protocol != "semla":
            raise ConfigError("option of another protocol", where=flag(name), got=given, expected="--protocol semla")
        setattr(args, name, default if given is None else given)


def _methods(text: str) -> list[str]:
    methods = [method.strip() for method in text.split(",")]
    if not set(methods) <= set(METHODS.split(",")):
        raise ConfigError("no such method", where="--methods", got=text, expected=f"some of {METHODS}")
    return methods


def _streetworld(args: argparse.Namespace, pipeline: Any) -> Any:
    from semla_ros.evaluation.leave_one_out import Inference
    from semla_ros.evaluation.rendered import RenderedDataset
    from semla_ros.streetworld.domains import DOMAINS

    names = pipeline.library.names
    if others := [name for name in names if name not in DOMAINS]:
        print(f"semla: no domains of StreetWorld, so not evaluated: {', '.join(others)}", file=sys.stderr)
    domains = [name for name in names if name in DOMAINS] or DOMAINS  # without such adapters, none is left out
    datasets = [RenderedDataset(name, args.images or 40) for name in domains]
    return datasets, Inference(args.mode or "plain", oracle=args.oracle)


def _semla(args: argparse.Namespace, pipeline: Any) -> Any:
    from semla_ros.evaluation.cityscapes import CityscapesFolder, domains
    from semla_ros.evaluation.leave_one_out import Inference

    if args.long_side < args.short_side:
        expected = f"at least the value of --short-side, {args.short_side}"
        raise ConfigError("long side too short", where="--long-side", got=args.long_side, expected=expected)
    names = [each.name for each in pipeline.classes]
    datasets = [CityscapesFolder(root, args.split, names, args.images or 0) for root in domains(args.data)]
    return datasets, Inference(args.mode or "sliding", args.short_side, args.long_side, args.oracle)


def _panoptic(args: argparse.Namespace, pipeline: Any) -> Any:
    from semla_ros.evaluation.coco_panoptic import CocoPanoptic, domains
    from semla_ros.evaluation.leave_one_out import Inference
    from semla_ros.streetworld.panoptic import ANNOTATIONS

    names, limit = [each.name for each in pipeline.classes], args.images or 0
    roots = domains(args.data)
    datasets = [CocoPanoptic(root / "images", root / ANNOTATIONS, names, limit) for root in roots]
    return datasets, Inference(args.mode or "plain", oracle=args.oracle)


DATASETS = {"semla": _semla, "panoptic": _panoptic}  # protocols on data sets of the user's own


def _print_skipped(dataset: Any) -> None:
    """Prints which images of a data set were left out of the scores; rendered ones never are."""
    skipped = getattr(dataset, "skipped", {})
    if skipped:
        names = ", ".join(path.name for path in skipped)
        print(
            f"{dataset.name}: {len(skipped)} of {len(dataset)} images were skipped, because a file is damaged: {names}"
        )


def _metadata(args: argparse.Namespace, pipeline: Any, inference: Any, datasets: Any) -> dict[str, Any]:
    """Protocol, settings and the number of evaluated and skipped images, for the JSON file."""
    settings = {"mode": inference.mode, "k": pipeline.k, "temperature": pipeline.temperature}
    if args.protocol == "semla":
        settings |= {"split": args.split, "short_side": args.short_side, "long_side": args.long_side}
    if args.oracle:
        settings["oracle"] = args.oracle
    images = {each.name: len(each) - len(each.skipped) for each in datasets}
    skipped = {each.name: [str(path) for path in each.skipped] for each in datasets if each.skipped}
    return {"protocol": args.protocol, "settings": settings, "images": images, "skipped": skipped}
