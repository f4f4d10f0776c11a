"""The demo's report: one HTML file with all images and the video inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from semla_ros.demo.examples import Example
from semla_ros.demo.look import DARK, LIGHT, domain_color
from semla_ros.demo.summary import Summary
from semla_ros.images.classes import ClassInfo
from semla_ros.images.data_uri import data_uri, drawing, photo
from semla_ros.template import rendered

TEMPLATE = Path(__file__).with_name("report.html.jinja")
ABSENT = "–"
SHOWN = 0.01  # smaller weights are not listed


def write_report(
    path: Path,
    summary: Summary,
    examples: Sequence[Example],
    classes: Sequence[ClassInfo],
    timelines: tuple[bytes, bytes],
    video: bytes,
) -> None:
    """Writes the report.

    Args:
        path: File to write, .html.
        summary: Results of the run.
        examples: Example images.
        classes: Classes of the legend.
        timelines: The timeline as PNG files, for light and dark background.
        video: The video, an MP4 file.

    Raises:
        ImageError: An example image cannot be encoded.
    """
    light, dark = (data_uri(each, "image/png") for each in timelines)
    page = rendered(
        TEMPLATE, number, signed, words, mixture, photo, drawing,
        summary=summary, examples=examples, classes=classes, light=light, dark=dark, domain_color=domain_color,
        video=data_uri(video, "video/mp4"), themes={"light": LIGHT, "dark": DARK},
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")


def number(value: float | None, digits: int = 1) -> str:
    """A number with a fixed number of digits; a dash for None, NaN and infinity."""
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else ABSENT


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.1f}".replace("-", "−") if math.isfinite(value) else ABSENT


def words(name: str) -> str:
    """A name with spaces instead of underscores."""
    return name.replace("_", " ")


def mixture(weights: dict[str, float]) -> str:
    """Adapters and their weights, for example "fog day 0.72, rain day 0.28"."""
    shown = {words(name): weight for name, weight in weights.items() if weight >= SHOWN}
    rest = sum(weights.values()) - sum(shown.values())
    parts = [f"{name} {weight:.2f}" for name, weight in shown.items()]
    return ", ".join(parts + ["others below 0.01"] * (rest > 0)) or "no adapter"
