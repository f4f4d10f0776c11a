"""``semla replay``."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, config, settings, task


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    replay = task(tasks, "replay", _replay, "segment every image of a bag, a video or an image folder, without ROS")
    replay.add_argument(
        "input", type=Path, help="ROS 2 bag (folder, .mcap, .db3), ROS 1 bag, video, image or folder of images"
    )
    replay.add_argument(
        "-o", "--out", type=Path, required=True, help="bag to write: one file if the name ends in .mcap, else a folder"
    )
    replay.add_argument("--topic", help="image topic of a bag, needed if the bag has several cameras")
    replay.add_argument(
        "--fps", type=above_zero, help="frame rate of image files; by default 10, or the times in the file names"
    )
    replay.add_argument("--overlay", action="store_true", help="also write the images with the colours of the classes")
    replay.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    settings(replay)


def _replay(args: argparse.Namespace) -> None:
    from semla_ros.errors import RecordingError
    from semla_ros.evaluation.metrics import ConfusionMatrix
    from semla_ros.pipeline.build import build_pipeline
    from semla_ros.progress import ProgressBar
    from semla_ros.recordings import open_recording
    from semla_ros.recordings.replay import replay

    recording = open_recording(args.input, args.topic, args.fps)
    chosen = config(args)
    bar = ProgressBar(total=recording.frame_count, desc="replay", unit="frame")
    with closing(build_pipeline(chosen)) as pipeline, bar:
        gaps = pipeline.gaps
        confusion = ConfusionMatrix(len(pipeline.classes))
        summary = replay(
            recording, pipeline, args.out, config=chosen, with_overlay=args.overlay, overwrite=args.overwrite,
            on_progress=lambda done, total: bar.update(done - bar.n),
            on_error=lambda error: bar.write(f"semla: {error}", file=sys.stderr),
            score=lambda result, ground_truth: confusion.add(ground_truth, result.labels),
        )  # fmt: skip
    print(f"{args.out}: {summary.frames} frames at {summary.fps:.1f}/s, {summary.bad_frames} bad frames skipped")
    print(f"  {summary.out_of_distribution_frames} frames out of distribution, {len(summary.swaps)} swaps")
    for swap in summary.swaps:
        mixture = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(swap.names, swap.weights, strict=True))
        print(f"  {swap.stamp_ns / 1e9:.3f} s: {mixture}")
    if gaps:
        values = gaps.key_values()
        print(f"  {values['gap_images']} embedded images fit no adapter; see 'semla library gaps {gaps.folder}'")
        if values["gap_problem"]:
            print(f"semla: {values['gap_problem']}", file=sys.stderr)
    if confusion.counts.any():
        print(f"  mIoU {confusion.miou:.1f}")
    if summary.incomplete:
        missing = "an unknown number of" if summary.incomplete.missing is None else summary.incomplete.missing
        raise RecordingError("recording is incomplete", where=args.input, got=f"{missing} images missing")
