"""The card of a trained adapter: README.md with data, settings and results, and the learning curve beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from semla_ros.library.bundle import Bundle
from semla_ros.text import counted, on_one_line
from semla_ros.training.log import read_rows
from semla_ros.training.recyclelora import RecycleLora

if TYPE_CHECKING:
    from semla_ros.training.adapter import Outcome

CARD, CURVE = "README.md", "curve.png"
TEXT = """# {name}

An adapter for the bundle {bundle}, trained by `semla train adapter` with the method {method}.
{result}

![Loss and mIoU over the steps]({curve})

| data | |
| --- | --- |
| images | {images} |
| label maps | {labels} |
| training images | {count} |
| held-out images | {held_out} |
| skipped images | {skipped} |
| classes | {classes} |

| settings | |
| --- | --- |
| preset | {about} |
| rank | {rank} |
| steps, batch | {steps}, {batch} |
| learning rate | {lr:g}, times warm-up and decay: at most {peak:.2g} |
| warm-up, decay | {warmup} steps, {decay} |
| weight decay | {weight_decay:g} |
| seed | {seed} |
"""


def write_adapter_card(folder: Path, outcome: Outcome, classes: Sequence[str], bundle: Bundle, log: Path) -> None:
    """Writes README.md and curve.png.

    Args:
        folder: Folder of the adapter.
        outcome: Result of the training.
        classes: Names of the classes, in the order of their ids.
        bundle: Bundle that the adapter was trained for.
        log: Log of the training, see `semla_ros.training.log.Log`.
    """
    task, schedule = outcome.task, outcome.preset.schedule
    text = TEXT.format(
        name=folder.name, bundle=bundle.path.name, method=task.method, result=result(outcome), curve=CURVE,
        images=task.images, labels=task.labels, count=outcome.images, held_out=outcome.held_out or "none: too few",
        skipped=names(outcome.skipped) or "none", classes="; ".join(classes),
        about=outcome.preset.about, rank=_rank(outcome), steps=schedule.steps, batch=schedule.batch, lr=schedule.lr,
        peak=schedule.peak,
        warmup=schedule.warmup, decay=schedule.decay, weight_decay=schedule.weight_decay, seed=task.seed,
    )  # fmt: skip
    (folder / CARD).write_text(text, errors="backslashreplace")  # names of files may be no text
    _draw_curve(folder / CURVE, log, outcome)


def names(files: Iterable[Path]) -> str:
    """Returns the names of files in one line."""
    return ", ".join(on_one_line(file.name) for file in files)


def result(outcome: Outcome) -> str:
    """Returns the mIoU before and after the training in one sentence."""
    best = outcome.best
    if not outcome.held_out:
        return "The mIoU was not measured, because there are too few images to hold some out."
    steps = f"after step {best.step}" if best.step < outcome.preset.schedule.steps else "at the end"
    images = counted(outcome.held_out, "held-out image")
    return (
        f"mIoU on {images}: {best.before:.1f} % before, {best.miou:.1f} % after the training (the best state, {steps})."
    )


def _rank(outcome: Outcome) -> str:
    preset, task = outcome.preset, outcome.task
    if task.method == "full":
        return "full: all parameters"
    rank = str(preset.rank)
    if task.method == "recyclelora":
        main, sub = preset.rank - preset.sub_rank, preset.sub_rank
        rank = f"{main} (main) + {sub} (sub), stored as a LoRA of rank {RecycleLora.rank(preset)}"
    if not math.isnan(outcome.rank_error):
        rank += f", reduced to {task.export_rank} with a relative error of {outcome.rank_error:.2g}"
    return rank


def _draw_curve(path: Path, log: Path, outcome: Outcome) -> None:
    rows = read_rows(log)
    figure = Figure((7, 3.2), layout="constrained")
    losses = figure.add_subplot()
    losses.plot([int(row["step"]) + 1 for row in rows], [float(row["loss"]) for row in rows], ".-", color="tab:blue")
    losses.set_xlabel("step")
    losses.set_ylabel("loss", color="tab:blue")
    scores = [(int(row["step"]) + 1, float(row["miou"])) for row in rows if row["miou"]]
    if scores:
        axis = losses.twinx()
        steps, mious = zip((0, outcome.best.before), *scores, strict=True)
        axis.plot(steps, mious, color="tab:orange", marker="o", markersize=3)
        axis.plot(outcome.best.step, outcome.best.miou, "o", markersize=8, mfc="none", color="tab:orange")
        axis.set_ylabel("mIoU on held-out images, %", color="tab:orange")
    figure.savefig(path, dpi=110)
