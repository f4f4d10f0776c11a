"""The results of a demo run, as JSON and as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from semla_ros.demo.changes import SwapReport
from semla_ros.demo.checks import Check, checks
from semla_ros.demo.drive import Stretch
from semla_ros.demo.recorded import Recorded
from semla_ros.demo.scores import Scores
from semla_ros.machine import machine, versions
from semla_ros.recordings.replay import Swap

MAX_DROPPED = 0.1  # share of dropped images above which the figures do not count
STAGES = ("decode", "embed", "retrieve", "fuse", "text", "segment", "publish", "total")


@dataclass(frozen=True)
class Summary:
    """Results of a run. Times in seconds count from the first image of the drive; mIoU is in percent.

    Attributes:
        frames_sent: Number of images that the camera published.
        frames_received: Number of images that reached the node, by its own count; so are the next three.
        frames_segmented: Number of images that it published masks for.
        frames_dropped: Number of images that it replaced by a newer one before they were segmented.
        frames_failed: Number of images that it could not segment.
        masks_recorded: Number of masks that reached the recorder.
        swaps: Swaps of the mixture: stamp (s), stamp_ns, time_s, mixture, kind (first, change or stray) and
            after_change_s, the time since the beginning of the change that caused it.
        changes: Changes of the drive's domain: before, after, begin_s, number of swaps.
        per_stretch: Stretches of the drive: name, steady, begin_s, end_s, miou_adapted, miou_frozen, gain.
        latency_ms_median: Median time from the publication of an image to the arrival of its mask.
        latency_ms_p95: 95th percentile of the same time.
        stages_ms: Median time of each stage of the node, over its last 100 images.
        fps: Masks per second.
        miou_adapted: mIoU of the live node's masks, over the images that it segmented.
        miou_frozen: mIoU of the base model without adapters, over the same images.
        checks: Results of all checks.
        bundle: Name or path of the model bundle.
        about: Its description.
        versions: Versions of the software.
        machine: Description of the machine.
    """

    frames_sent: int
    frames_received: int
    frames_segmented: int
    frames_dropped: int
    frames_failed: int
    masks_recorded: int
    swaps: tuple[dict[str, Any], ...]
    changes: tuple[dict[str, Any], ...]
    per_stretch: tuple[dict[str, Any], ...]
    latency_ms_median: float
    latency_ms_p95: float
    stages_ms: Mapping[str, float]
    fps: float
    miou_adapted: float
    miou_frozen: float
    checks: tuple[Check, ...]
    bundle: str
    about: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]

    @property
    def miou_gain(self) -> float:
        """Gain by adaptation, in percentage points."""
        return self.miou_adapted - self.miou_frozen

    @property
    def warning(self) -> str:
        """Explains that the machine was too slow for the figures to count; empty otherwise."""
        share = self.frames_dropped / max(1, self.frames_received)
        if share <= MAX_DROPPED:
            return ""
        return (
            f"This machine was too slow or too busy: {100 * share:.0f} % of the images were dropped. "
            "The figures are not comparable with others."
        )

    @classmethod
    def of(cls, sent: int, recorded: Recorded, swaps: SwapReport, scores: Scores, bundle: str, about: str) -> Summary:
        """Summarises a run.

        Args:
            sent: Number of images that the camera published.
            recorded: The recorded output of the node.
            swaps: The node's swaps by their cause.
            scores: Scores of all images.
            bundle: Name or path of the model bundle.
            about: Its description.
        """
        start = min(scores.frames)
        median, p95 = np.percentile(recorded.latencies_ms or [math.nan], (50, 95))
        return cls(
            frames_sent=sent,
            frames_received=recorded.frames("received"),
            frames_segmented=recorded.frames("segmented"),
            frames_dropped=recorded.frames("dropped"),
            frames_failed=recorded.frames("failed"),
            masks_recorded=len(recorded.masks),
            swaps=tuple(_swaps(swaps, start)),
            changes=tuple(_changes(swaps, start)),
            per_stretch=tuple(_stretch(stretch, scores, start) for stretch in scores.per_stretch),
            latency_ms_median=float(median),
            latency_ms_p95=float(p95),
            stages_ms=_stages(recorded.figures),
            fps=recorded.fps,
            miou_adapted=scores.total.adapted,
            miou_frozen=scores.total.frozen,
            checks=checks(sent, recorded, swaps),
            bundle=bundle,
            about=about,
            versions=versions(),
            machine=machine(),
        )

    def write(self, path: Path) -> None:
        """Writes the summary as JSON. NaN and infinity become null."""
        path.write_text(json.dumps(_finite(asdict(self)), indent=2) + "\n")


def table(summary: Summary) -> Table:
    """mIoU per steady stretch and for the whole drive, for the terminal."""
    out = Table(title="semla_ros demo")
    for column, style in (("mIoU, %", ""), ("frozen", "dim"), ("adapted", "bold"), ("gain", "green")):
        out.add_column(column, style=style, justify="left" if column == "mIoU, %" else "right")
    rows = [(stretch["name"], stretch) for stretch in summary.per_stretch if stretch["steady"]]
    for name, row in rows:
        out.add_row(name, *(f"{row[key]:.1f}" for key in ("miou_frozen", "miou_adapted")), f"{row['gain']:+.1f}")
    out.add_section()
    whole = (f"{summary.miou_frozen:.1f}", f"{summary.miou_adapted:.1f}", f"{summary.miou_gain:+.1f}")
    out.add_row("whole drive", *whole)
    return out


def accounts(summary: Summary) -> str:
    """Counts, speed and failed checks, for the terminal."""
    lines = [
        f"{summary.frames_sent} images sent: {summary.frames_segmented} segmented, {summary.frames_dropped} dropped, "
        f"{summary.frames_failed} failed",
        f"{summary.fps:.1f} masks per second, latency {summary.latency_ms_median:.0f} ms, {len(summary.swaps)} swaps",
        *([f"[yellow]{summary.warning}[/yellow]"] if summary.warning else []),
        *(f"[red]Check failed: {check.what} ({check.figures})[/red]" for check in summary.checks if not check.passed),
    ]
    return "\n".join(lines)


def _swaps(swaps: SwapReport, start: int) -> list[dict[str, Any]]:
    first = [_swap(swaps.first, "first", start)] if swaps.first else []
    own = [_swap(swap, "change", start, change.begin_ns) for change in swaps.changes for swap in change.swaps]
    stray = [_swap(swap, "stray", start) for swap in swaps.stray]
    return sorted(first + own + stray, key=lambda swap: int(swap["stamp_ns"]))


def _swap(swap: Swap, kind: str, start: int, change_ns: int | None = None) -> dict[str, Any]:
    return {
        "stamp": 1e-9 * swap.stamp_ns,
        "stamp_ns": swap.stamp_ns,
        "time_s": 1e-9 * (swap.stamp_ns - start),
        "mixture": dict(zip(swap.names, swap.weights, strict=True)),
        "kind": kind,
        "after_change_s": None if change_ns is None else 1e-9 * (swap.stamp_ns - change_ns),
    }


def _changes(swaps: SwapReport, start: int) -> list[dict[str, Any]]:
    return [
        {"before": c.before, "after": c.after, "begin_s": 1e-9 * (c.begin_ns - start), "swaps": len(c.swaps)}
        for c in swaps.changes
    ]


def _stretch(stretch: Stretch, scores: Scores, start: int) -> dict[str, Any]:
    pair = scores.per_stretch[stretch]
    return {
        "name": stretch.name,
        "steady": stretch.steady,
        "begin_s": 1e-9 * (stretch.begin_ns - start),
        "end_s": 1e-9 * (stretch.end_ns - start),
        "miou_adapted": pair.adapted,
        "miou_frozen": pair.frozen,
        "gain": pair.gain,
    }


def _stages(figures: Mapping[str, str]) -> dict[str, float]:
    found = {stage: figures.get(f"latency_{stage}_ms_median") for stage in STAGES}
    return {stage: float(median) for stage, median in found.items() if median is not None}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
