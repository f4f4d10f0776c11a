"""``semla evaluate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from semla_ros.cli.options import claimed, config, positive, settings, task
from semla_ros.errors import ConfigError

METHODS = "zero_shot,uniform,semla,oracle"


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    about = "leave-one-out mIoU: does the library help in domains whose own adapter is taken away?"
    evaluate = task(tasks, "evaluate", _evaluate, about)
    evaluate.add_argument(
        "--protocol", choices=("streetworld", "semla"), default="streetworld",
        help="held-out StreetWorld, or the paper's: your data sets, sliding window (%(default)s)",
    )  # fmt: skip
    evaluate.add_argument(
        "--data", type=Path, metavar="DIR", help="for semla: a folder a domain, each in Cityscapes' layout"
    )
    evaluate.add_argument("--split", default="val", help="for semla (%(default)s)")
    evaluate.add_argument("--mode", choices=("sliding", "plain"), help="sliding for semla, plain for streetworld")
    evaluate.add_argument(
        "--short-side", type=positive, default=640, help="for semla: pixels, first of all (%(default)s)"
    )
    evaluate.add_argument("--long-side", type=positive, default=2560, help="for semla: at most (%(default)s)")
    evaluate.add_argument("--methods", default=METHODS, help="some of %(default)s")
    evaluate.add_argument("--images", type=positive, help="a domain (40 of streetworld, all of semla)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    settings(evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from semla_ros.evaluation.leave_one_out import LeaveOneOut
    from semla_ros.evaluation.table import as_json, as_table
    from semla_ros.pipeline.build import build_pipeline

    methods = _methods(args.methods)
    if args.protocol == "semla" and not args.data:
        raise ConfigError("no data sets", where="--data", expected="a folder with a folder a domain")
    if args.protocol != "semla" and args.data:
        raise ConfigError("StreetWorld is rendered", where="--data", got=args.data, hint="add --protocol semla")
    claimed(args.json)
    pipeline = build_pipeline(config(args))
    datasets, inference = _semla(args, pipeline) if args.protocol == "semla" else _streetworld(args, pipeline)
    scores = LeaveOneOut(pipeline, inference, methods).run(datasets)
    print(as_table(scores))
    if args.json:
        about = _about(args, pipeline, datasets) if args.protocol == "semla" else {}
        args.json.write_text(json.dumps({**about, **as_json(scores)}, indent=2) + "\n")


def _methods(text: str) -> list[str]:
    methods = [method.strip() for method in text.split(",")]
    if not set(methods) <= set(METHODS.split(",")):
        raise ConfigError("no such method", where="--methods", got=text, expected=f"some of {METHODS}")
    return methods


def _streetworld(args: argparse.Namespace, pipeline: Any) -> Any:
    from semla_ros.evaluation.leave_one_out import Inference
    from semla_ros.evaluation.rendered import Rendered

    datasets = [Rendered(name, args.images or 40) for name in pipeline.library.names]
    return datasets, Inference(args.mode or "plain")


def _semla(args: argparse.Namespace, pipeline: Any) -> Any:
    from semla_ros.evaluation.cityscapes import CityscapesFolder, domains
    from semla_ros.evaluation.leave_one_out import Inference

    if args.long_side < args.short_side:
        raise ConfigError("sides cross", where="--long-side", got=args.long_side, expected=f"from {args.short_side}")
    names = [each.name for each in pipeline.classes]
    datasets = [CityscapesFolder(root, args.split, names, args.images or 0) for root in domains(args.data)]
    return datasets, Inference(args.mode or "sliding", args.short_side, args.long_side)


def _about(args: argparse.Namespace, pipeline: Any, datasets: Any) -> dict[str, Any]:
    settings = {
        "split": args.split,
        "mode": args.mode or "sliding",
        "k": pipeline.k,
        "temperature": pipeline.temperature,
    }
    settings |= {"short_side": args.short_side, "long_side": args.long_side}
    return {"protocol": "semla", "settings": settings, "images": {each.name: len(each) for each in datasets}}
