"""``semla evaluate``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from semla_ros.cli.options import config, positive, settings, task


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    evaluate = task(tasks, "evaluate", _evaluate, "leave-one-out mIoU on held-out StreetWorld: does the library help?")
    evaluate.add_argument("--pictures", type=positive, default=40, help="a domain (%(default)s)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    settings(evaluate)


def _evaluate(args: argparse.Namespace) -> None:
    from semla_ros.build import build_pipeline
    from semla_ros.evaluation.leave_one_out import LeaveOneOut
    from semla_ros.evaluation.table import as_json, as_table

    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    pipeline = build_pipeline(config(args))
    scores = LeaveOneOut(pipeline).run(pipeline.library.names, args.pictures)
    print(as_table(scores))
    if args.json:
        args.json.write_text(json.dumps(as_json(scores), indent=2) + "\n")
