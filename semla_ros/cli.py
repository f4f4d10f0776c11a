"""The command ``semla``: one subcommand a task. Heavy imports wait until a task needs them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from semla_ros import __version__
from semla_ros.config import Config, changed, load
from semla_ros.errors import ConfigError, SemlaError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand. Returns 0, or 1 after a clear message, or 130 when interrupted."""
    args = parser().parse_args(argv)
    try:
        args.run(args)
    except SemlaError as error:
        print(f"semla: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"semla: {error.strerror or error} ({error.filename})", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("semla: interrupted", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """All subcommands and their options."""
    top = argparse.ArgumentParser(prog="semla", description="Segmentation that adapts to light and weather.")
    top.add_argument("--version", action="version", version=f"semla_ros {__version__}")
    tasks = top.add_subparsers(required=True, metavar="TASK")

    demo = _task(tasks, "demo", _demo, "the live node on a sample drive through four domains, with a report")
    demo.add_argument("-o", "--out", type=Path, default=Path("out/demo"), help="folder of the results (%(default)s)")
    demo.add_argument(
        "--seed", type=_natural, default=3, help="other seeds, other drives; 0 to 2 served for tuning (%(default)s)"
    )

    replay = _task(tasks, "replay", _replay, "segment a bag, video or image folder, every frame, without ROS")
    replay.add_argument(
        "input", type=Path, help="ROS 2 bag (mcap, db3), ROS 1 bag, video, folder of pictures, or picture"
    )
    replay.add_argument("-o", "--out", type=Path, required=True, help="bag to write: a name in .mcap, or a folder")
    replay.add_argument("--topic", help="image topic, where the bag holds several cameras")
    replay.add_argument("--fps", type=float, help="frame rate of a folder whose file names are no times")
    replay.add_argument("--overlay", action="store_true", help="write pictures with the classes' colours, too")
    replay.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    _settings(replay)

    evaluate = _task(tasks, "evaluate", _evaluate, "leave-one-out mIoU on held-out StreetWorld: does the library help?")
    evaluate.add_argument("--pictures", type=_positive, default=40, help="a domain (%(default)s)")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    _settings(evaluate)

    models = _task(tasks, "models", None, "model bundles").add_subparsers(required=True, metavar="WHAT")
    imported = _task(models, "import", _import, "official CAT-Seg weights and a SemLA library as a bundle")
    imported.add_argument(
        "--segmenter", type=Path, required=True, help="CAT-Seg's model_final.pth (ViT-B/16, ViT-L/14@336)"
    )
    imported.add_argument("--library", type=Path, required=True, help="SemLA's loradb folder")
    imported.add_argument(
        "--navigator", default="openai", help="'openai' fetches CLIP ViT-L/14, or a file (%(default)s)"
    )
    imported.add_argument("-o", "--out", type=Path, required=True, help="bundle to write")

    train = _task(tasks, "train", None, "train models").add_subparsers(required=True, metavar="WHAT")
    world = _task(train, "world", _train_world, "everything in models/streetworld, from nothing; resumable")
    world.add_argument(
        "-o", "--out", type=Path, default=Path("models/streetworld"), help="bundle to write (%(default)s)"
    )
    world.add_argument("--work", type=Path, default=Path("out/world"), help="data, checkpoints, logs (%(default)s)")

    render = _task(tasks, "world", None, "render StreetWorld").add_subparsers(required=True, metavar="WHAT")
    dataset = _task(render, "dataset", _dataset, "pictures, label maps and captions of a domain")
    dataset.add_argument("domain", help="clear_day, fog_night, ... ('all': every one, a folder each)")
    dataset.add_argument("-o", "--out", type=Path, required=True, help="folder")
    dataset.add_argument("-n", "--count", type=_positive, default=100, help="pictures (%(default)s)")
    dataset.add_argument("--seed", type=_natural, default=0, help="other seeds, other streets (%(default)s)")
    drive = _task(render, "drive", _drive, "a ROS 2 bag of a drive through changing weather, 10 Hz, with ground truth")
    drive.add_argument("-o", "--out", type=Path, required=True, help="bag to write")
    drive.add_argument("--seed", type=_natural, default=0, help="other seeds, other drives (%(default)s)")
    drive.add_argument(
        "--leg", action="append", metavar="DOMAIN:STEADY_S:TRANSITION_S", help="repeat for each leg (the demo's four)"
    )
    return top


def _task(
    tasks: Any, name: str, run: Callable[[argparse.Namespace], None] | None, about: str
) -> argparse.ArgumentParser:
    task: argparse.ArgumentParser = tasks.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    if run:
        task.set_defaults(run=run)
    return task


def _settings(task: argparse.ArgumentParser) -> None:
    task.add_argument("--config", type=Path, metavar="FILE", help="YAML of settings, such as config/paper_table6.yaml")
    task.add_argument("--bundle", help="model bundle: a folder, or the name of a bundled one (streetworld)")
    task.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as fusion.k=3; repeatable"
    )


def _config(args: argparse.Namespace) -> Config:
    config = load(Config(), args.config) if args.config else Config()
    pairs = [item.partition("=") for item in args.set]
    for key, equals, _ in pairs:
        if not equals:
            raise ConfigError("setting without a value", where="--set", got=key, expected="KEY=VALUE")
    try:
        settings: dict[str, Any] = {key: yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise ConfigError(
            "setting is not YAML", where="--set", got=args.set, hint=" ".join(str(error).split())
        ) from error
    return changed(config, settings | ({"model.bundle": args.bundle} if args.bundle else {}))


def _demo(args: argparse.Namespace) -> None:
    from semla_ros.demo.run import run_demo

    run_demo(args.out, seed=args.seed)


def _replay(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from semla_ros.build import build_pipeline
    from semla_ros.evaluation.metrics import ConfusionMatrix
    from semla_ros.recordings import open_recording
    from semla_ros.replay import replay

    recording = open_recording(args.input, args.topic, args.fps)
    pipeline = build_pipeline(_config(args))
    confusion = ConfusionMatrix(len(pipeline.classes))
    with tqdm(total=recording.frame_count, desc="replay", unit="frame") as bar:
        summary = replay(
            recording, pipeline, args.out, with_overlay=args.overlay, overwrite=args.overwrite,
            on_progress=lambda done, total: bar.update(done - bar.n),
            on_error=lambda error: bar.write(f"semla: {error}", file=sys.stderr),
            score=lambda perception, truth: confusion.add(truth, perception.labels),
        )  # fmt: skip
    print(f"{args.out}: {summary.frames} frames at {summary.fps:.1f}/s, {summary.bad_frames} bad ones skipped,")
    print(f"  {summary.out_of_library_frames} frames out of the library, {len(summary.swaps)} swaps")
    for swap in summary.swaps:
        mixture = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(swap.names, swap.weights, strict=True))
        print(f"  {swap.stamp_ns / 1e9:.3f} s: {mixture}")
    if confusion.counts.any():
        print(f"  mIoU {confusion.miou:.1f}")


def _evaluate(args: argparse.Namespace) -> None:
    from semla_ros.build import build_pipeline
    from semla_ros.evaluation.leave_one_out import LeaveOneOut
    from semla_ros.evaluation.table import as_json, as_table

    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    pipeline = build_pipeline(_config(args))
    scores = LeaveOneOut(pipeline).run(pipeline.library.names, args.pictures)
    print(as_table(scores))
    if args.json:
        args.json.write_text(json.dumps(as_json(scores), indent=2) + "\n")


def _import(args: argparse.Namespace) -> None:
    from semla_ros.importing import import_models

    bundle = import_models(args.segmenter, args.library, args.navigator, args.out)
    print(f"{bundle.path}: ready for --bundle {bundle.path}, or the node's model.bundle")


def _train_world(args: argparse.Namespace) -> None:
    from semla_ros.training.world import Recipe, train_world

    train_world(args.work, args.out, Recipe())


def _dataset(args: argparse.Namespace) -> None:
    from semla_ros.streetworld.dataset import write_dataset
    from semla_ros.streetworld.domains import DOMAINS

    if args.domain != "all":
        write_dataset(args.out, args.domain, args.count, args.seed)
        return
    for domain in DOMAINS:
        write_dataset(args.out / domain, domain, args.count, args.seed)


def _drive(args: argparse.Namespace) -> None:
    from semla_ros.streetworld.drive import DEMO_LEGS, Drive, write_drive

    write_drive(args.out, Drive([_leg(text) for text in args.leg] if args.leg else DEMO_LEGS, args.seed))


def _leg(text: str) -> Any:
    from semla_ros.streetworld.drive import Leg

    try:
        domain, *seconds = text.split(":")
        steady, transition = (float(each) for each in (*seconds, "0")[:2])
        if len(seconds) > 2 or not (0 < steady < math.inf and 0 <= transition < math.inf):
            raise ValueError(text)
    except ValueError as error:
        expected = "DOMAIN:STEADY_S or DOMAIN:STEADY_S:TRANSITION_S, such as fog_day:12:3"
        raise ConfigError("no leg of a drive", where="--leg", got=text, expected=expected) from error
    return Leg(domain, steady, transition)


def _natural(text: str, least: int = 0) -> int:
    """A whole number from ``least``, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from {least}")
    return int(text)


def _positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    return _natural(text, 1)


if __name__ == "__main__":
    sys.exit(main())
