"""The model card of a trained bundle: what was trained on what, and how the loss fell."""

from __future__ import annotations

import csv
from pathlib import Path

from semla_ros.training.loop import Schedule

CARD = """# {title}

{about}

Written by `semla train world`; seed {seed}. Images: {images}. Loss: mean of the first and of the last 20 steps,
contrastive cross-entropy for CLIP, binary cross-entropy a class and pixel for the others. Seconds are wall time, with
other work on the machine now and then.

| stage | steps | batch | peak rate | first loss | last loss | seconds |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}
"""


def write_card(path: Path, about: str, seed: int, images: str, stages: dict[str, tuple[Path, Schedule]]) -> None:
    """Writes a README with one row a stage.

    Args:
        path: The README.
        about: What the model is, in a sentence.
        seed: Of the draws.
        images: What it was trained on, in a few words.
        stages: Name to log (see `semla_ros.training.loop.Log`) and schedule.
    """
    rows = "\n".join(_row(name, log, schedule) for name, (log, schedule) in stages.items())
    text = CARD.format(title=path.parent.name, about=about, seed=seed, images=images, rows=rows)
    path.write_text(text)


def _row(name: str, log: Path, schedule: Schedule) -> str:
    with log.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, last = rows[0], rows[-1]
    cells = [name, schedule.steps, schedule.batch, f"{schedule.lr:g}", first["loss"], last["loss"], last["seconds"]]
    return "| " + " | ".join(map(str, cells)) + " |"
