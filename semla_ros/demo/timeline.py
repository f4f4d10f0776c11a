"""A figure of the drive over time: true domains, mIoU, distance, adapter weights and support score."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from semla_ros.demo.drive import Stretch
from semla_ros.demo.look import LIGHT, Theme, domain_color
from semla_ros.demo.scores import Pair
from semla_ros.topics.domain import DomainSample

Series = NDArray[np.float64]
HEIGHTS = {"domain": 0.25, "miou": 1.5, "distance": 1.3, "weights": 1.2, "support": 0.8}
DPI = 130
SMOOTH_S = 1.0
SHADE, STEPS = 0.16, 16
SHOWN = 0.01  # smaller weights would be invisible
LINE = {"linewidth": 1.4, "markersize": 4}


@dataclass(frozen=True)
class Timeline:
    """The data of the figure. Stamps are nanoseconds.

    Attributes:
        stretches: Stretches of the drive.
        states: Domain states of the node.
        scores: mIoU of each image by its stamp.
        swaps_ns: Stamps of the swaps.
    """

    stretches: Sequence[Stretch]
    states: Sequence[DomainSample]
    scores: Mapping[int, Pair]
    swaps_ns: Sequence[int]

    def seconds(self, stamps_ns: Sequence[int]) -> Series:
        """Converts stamps to seconds since the first image."""
        return np.array([1e-9 * (stamp - self.stretches[0].begin_ns) for stamp in stamps_ns], np.float64)

    @property
    def state_times(self) -> Series:
        """Times of the states, seconds."""
        return self.seconds([state.stamp_ns for state in self.states])

    @property
    def end_s(self) -> float:
        """Duration of the drive, seconds."""
        return 1e-9 * (self.stretches[-1].end_ns - self.stretches[0].begin_ns)


def draw(timeline: Timeline, theme: Theme = LIGHT) -> bytes:
    """Draws the figure and returns it as a PNG file."""
    figure = Figure(figsize=(12.0, 8.4), dpi=DPI, facecolor=theme.paper, layout="constrained")
    axes = dict(
        zip(HEIGHTS, figure.subplots(len(HEIGHTS), sharex=True, height_ratios=[*HEIGHTS.values()]), strict=True)
    )
    for axis in axes.values():
        _clean(axis, theme)
        _weather(axis, timeline)
        axis.set_xlim(0.0, timeline.end_s)
    _name_domains(axes["domain"], timeline, theme)
    for name, panel in (("miou", _miou), ("distance", _distance), ("weights", _weights), ("support", _support)):
        panel(axes[name], timeline, theme)
        _mark_swaps(axes[name], timeline, theme)
    axes["support"].set_xlabel("time, s", color=theme.ink)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _clean(axis: Any, theme: Theme) -> None:
    axis.set_facecolor(theme.paper)
    axis.spines[:].set_visible(False)
    axis.tick_params(colors=theme.ink, length=0, labelsize=9)
    axis.grid(axis="y", color=theme.faint, alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)


def _weather(axis: Any, timeline: Timeline) -> None:
    """Shades the stretches in the colours of their domains. In a transition one colour fades into the next."""
    before = timeline.stretches[0]
    for stretch in timeline.stretches:
        begin, end = timeline.seconds([stretch.begin_ns, stretch.end_ns])
        edges = np.linspace(begin, end, 2 if stretch.steady else STEPS + 1)
        for i, (left, right) in enumerate(pairwise(edges)):
            share = 1.0 if stretch.steady else (i + 0.5) / STEPS  # of the next domain
            axis.axvspan(left, right, color=domain_color(before.domain), alpha=SHADE * (1 - share), linewidth=0)
            axis.axvspan(left, right, color=domain_color(stretch.domain), alpha=SHADE * share, linewidth=0)
        before = stretch


def _name_domains(axis: Any, timeline: Timeline, theme: Theme) -> None:
    axis.set_yticks([])
    axis.set_ylim(0, 1)
    for stretch in timeline.stretches:
        (middle,) = timeline.seconds([stretch.middle_ns])
        text = stretch.domain.replace("_", " ") if stretch.steady else "→"
        axis.text(middle, 0.5, text, ha="center", va="center", color=theme.ink, fontsize=11, weight="bold")


def _miou(axis: Any, timeline: Timeline, theme: Theme) -> None:
    time = timeline.seconds([*timeline.scores])
    for name, color in (("adapted", theme.adapted), ("frozen", theme.frozen)):
        values = np.array([getattr(pair, name) for pair in timeline.scores.values()])
        axis.plot(time, values, color=color, alpha=0.3, linewidth=0.8)
        axis.plot(time, _smooth(time, values), color=color, linewidth=2.0, label=name)
    _finish(axis, "mIoU per image, %", theme)


def _smooth(time: Series, values: Series) -> Series:
    """Mean over one second around each image, without dropped images."""
    near = (np.abs(time[:, None] - time) <= SMOOTH_S / 2) & np.isfinite(values)
    count = near.sum(1)
    mean: Series = near @ np.nan_to_num(values) / np.where(count > 0, count, np.nan)
    return mean


def _distance(axis: Any, timeline: Timeline, theme: Theme) -> None:
    time, states = timeline.state_times, timeline.states
    axis.plot(time, [state.distance for state in states], ".-", color=theme.ink, label="distance", **LINE)
    for name, style in (("upper_threshold", "--"), ("lower_threshold", ":")):
        values = [getattr(state, name) for state in states]
        axis.plot(time, values, style, color=theme.frozen, linewidth=1.3, label=name.replace("_", " "))
    _finish(axis, "Distance of the moving average from the embedding of the active mixture", theme)


def _weights(axis: Any, timeline: Timeline, theme: Theme) -> None:
    """Draws the weights as stacked areas. A weight is constant until the next state."""
    names = list(
        dict.fromkeys(n for state in timeline.states for n, weight in state.weights.items() if weight >= SHOWN)
    )
    rows = [[state.weights.get(name, 0.0) for state in timeline.states] for name in names]
    if rows:
        time = np.append(timeline.state_times, timeline.end_s)
        held = np.array([[*row, row[-1]] for row in rows])
        labels, colors = [name.replace("_", " ") for name in names], [domain_color(name) for name in names]
        axis.stackplot(time, held, step="post", colors=colors, labels=labels, alpha=0.9, linewidth=0)
    axis.set_ylim(0, 1)
    _finish(axis, "Adapter weights", theme)


def _support(axis: Any, timeline: Timeline, theme: Theme) -> None:
    axis.plot(timeline.state_times, [state.support for state in timeline.states], ".-", color=theme.ink, **LINE)
    _finish(axis, "Support score", theme)


def _mark_swaps(axis: Any, timeline: Timeline, theme: Theme) -> None:
    for i, time in enumerate(timeline.seconds(timeline.swaps_ns)):
        axis.axvline(time, color=theme.ink, linewidth=1.0, alpha=0.8, label="" if i else "swap")
    handles, labels = axis.get_legend_handles_labels()
    if len(labels) > 1:
        rows = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.06), "fontsize": 8.5, "borderaxespad": 0.2}
        axis.legend(handles, labels, frameon=False, labelcolor=theme.ink, labelspacing=0.3, **rows)


def _finish(axis: Any, title: str, theme: Theme) -> None:
    axis.set_ylim(bottom=0)
    axis.set_title(title, loc="left", color=theme.ink, fontsize=10, pad=4)
