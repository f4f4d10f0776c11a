"""A report on the gaps of a library: one HTML file with all images inside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from semla_ros.adaptation.gaps import Gaps
from semla_ros.gaps.section import Section
from semla_ros.images.files import write_whole
from semla_ros.images.frame import SECOND_NS
from semla_ros.template import rendered

TEMPLATE = Path(__file__).with_name("report.html.jinja")
LATEST_NS = 2**63  # 2262
EARLIEST_NS = 10**18  # stamps before 2001 are not times of the day, but times since the start of a recording


def write_report(path: Path, gaps: Gaps, sections: Sequence[Section], bundle: str) -> None:
    """Writes the report.

    Args:
        path: File to write, .html.
        gaps: The record.
        sections: Its gaps.
        bundle: Name of the bundle whose library they are compared with.

    Raises:
        ImageError: The file cannot be written.
    """
    first = min(gaps.bins, default=0)
    page = rendered(
        TEMPLATE, gaps=gaps, sections=sections, bundle=bundle, first=first, count=max(gaps.bins, default=0) - first + 1,
        when=when, bin_ns=gaps.bin_s * SECOND_NS, percent=percent,
    )  # fmt: skip
    write_whole(path, page.encode())


def when(stamp_ns: int) -> str:
    """A stamp as date and time, or as seconds if it counts from the start of a recording."""
    if not EARLIEST_NS <= stamp_ns < LATEST_NS:
        return f"{stamp_ns / SECOND_NS:.0f} s"
    return datetime.fromtimestamp(stamp_ns / SECOND_NS, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def percent(part: float, whole: float) -> str:
    """A share, for example "12.5 %"; "0 %" of nothing."""
    return f"{100 * part / whole:.3g} %" if whole else "0 %"
