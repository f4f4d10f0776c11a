"""The model card of a trained bundle: training data, schedules and losses."""

from __future__ import annotations

from pathlib import Path

from semla_ros.training.log import read_rows
from semla_ros.training.schedule import Schedule

CARD = """# {title}

{about}

Written by `semla train world` with seed {seed}. Training images: {images}.
The losses are means over the first and over the last 20 steps: contrastive cross-entropy for CLIP and the captions,
{loss} for the other stages.
The seconds are wall time on a machine that sometimes did other work.

| stage | steps | batch | base learning rate | first loss | last loss | seconds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}
"""


def write_card(
    path: Path, about: str, seed: int, images: str, loss: str, stages: dict[str, tuple[Path, Schedule]]
) -> None:
    """Writes a README with one row per training stage.

    Args:
        path: README to write; an existing one is replaced.
        about: What the model is, in one sentence.
        seed: Seed of the training.
        images: Number and kind of the training images, in a few words.
        loss: Loss of the segmenter and the adapters, in a few words.
        stages: Name of each stage to its log (see `semla_ros.training.log.Log`) and schedule.
    """
    rows = "\n".join(_row(name, log, schedule) for name, (log, schedule) in stages.items())
    text = CARD.format(title=path.parent.name, about=about, seed=seed, images=images, loss=loss, rows=rows)
    path.write_text(text)


def _row(name: str, log: Path, schedule: Schedule) -> str:
    rows = read_rows(log)
    first, last = rows[0], rows[-1]
    cells = [name, schedule.steps, schedule.batch, f"{schedule.lr:g}", first["loss"], last["loss"], last["seconds"]]
    return "| " + " | ".join(map(str, cells)) + " |"
