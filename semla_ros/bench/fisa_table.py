"""Tables and plot of `semla bench --size fisa-vitl14`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from semla_ros.bench.measure import Timing


@dataclass(frozen=True)
class Measured:
    """Figures of one size.

    Attributes:
        stages_ms: Stage to its times.
        ratio: Time of the straightforward computation, divided by ours.
        difference: Largest difference between the logits of both.
        operations: Number of masks to TFLOP of CLIP with mask tokens, ours and the straightforward ones.
        by_masks: Number of masks to milliseconds and MiB of CLIP with mask tokens.
        by_classes: Number of classes to milliseconds and MiB of the same and the semantic map.
    """

    stages_ms: dict[str, Timing]
    ratio: float
    difference: float
    operations: dict[int, tuple[float, float]]
    by_masks: dict[int, tuple[float, float]]
    by_classes: dict[int, tuple[float, float]]


def show(size: str, measured: Measured) -> None:
    """Prints the tables."""
    stages = Table("stage", "ms", "±", title=size)
    for name, each in measured.stages_ms.items():
        stages.add_row(name, f"{each.median:.1f}", f"{each.spread:.1f}")
    growth = Table("", "number", "ms", "MiB", title="time and memory of tensors")
    for what, rows in (("masks", measured.by_masks), ("classes", measured.by_classes)):
        for count, (milliseconds, mib) in rows.items():
            growth.add_row(what, f"{count:,}", f"{milliseconds:.1f}", f"{mib:.0f}")
    work = Table("masks", "TFLOP", "straightforward", "ratio", title="operations of CLIP with mask tokens")
    for count, (ours, theirs) in measured.operations.items():
        work.add_row(f"{count:,}", f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.2f}")
    for table in (stages, growth, work):
        Console().print(table)
    print(f"straightforward computation / ours: {measured.ratio:.2f}, logits differ by {measured.difference:.1g}")


def draw(measured: Measured, file: Path) -> None:
    """Plots time and memory against masks and classes to an image file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(8, 5), layout="constrained")
    for column, (what, rows) in enumerate((("masks", measured.by_masks), ("classes", measured.by_classes))):
        for row, unit in enumerate(("ms", "MiB")):
            axis, costs = axes[row][column], [cost[row] for cost in rows.values()]
            axis.plot(list(rows), costs, marker="o", color="#1f6feb")
            axis.set(xlabel=what, ylabel=unit, ylim=(0, 1.15 * max(costs)))
            axis.grid(alpha=0.3)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)
