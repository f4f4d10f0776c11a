"""A figure of what two adapters change, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from semla_ros.library.comparison import LayerComparison

COLORS = "#1f6feb", "#d1701a"
GREY = "#57606a"
INCHES_PER_LAYER, MARGIN, WIDTH = 0.17, 1.2, 11.0


def draw(layers: Sequence[LayerComparison], names: tuple[str, str], file: Path) -> None:
    """Draws one row per layer: the sizes of both changes on the left, the cosine between them on the right.

    Args:
        layers: Layers from top to bottom.
        names: Names of the two adapters.
        file: Image file; the format follows its suffix.
    """
    rows = range(len(layers))
    figure = Figure(figsize=(WIDTH, MARGIN + INCHES_PER_LAYER * len(layers)), layout="constrained")
    sizes, cosines = figure.subplots(1, 2, sharey=True, width_ratios=[2, 1])
    for side, name, color in ((0, names[0], COLORS[0]), (1, names[1], COLORS[1])):
        values = [100 * (each.second if side else each.first) for each in layers]
        sizes.barh([row + 0.4 * side - 0.2 for row in rows], values, height=0.4, color=color, label=name)
    cosines.barh(rows, [each.cosine for each in layers], height=0.7, color=GREY)
    sizes.set(xlabel="size of the change, % of the weights' norm", ylim=(len(layers) - 0.4, -0.6))
    sizes.set_yticks(rows, [each.layer for each in layers], fontsize=6)
    sizes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    cosines.set(xlabel="cosine between the two changes", xlim=(-1, 1))
    cosines.axvline(0, color="black", linewidth=0.8)
    for axis in (sizes, cosines):
        axis.grid(axis="x", alpha=0.3)
    figure.savefig(file, dpi=130)
