"""Checks of a run: every image and every swap is accounted for."""

from __future__ import annotations

from dataclasses import dataclass

from semla_ros.demo.changes import SwapReport
from semla_ros.demo.recorded import Recorded


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        what: The expectation, as a sentence.
        passed: Whether it was met.
        figures: The numbers that were compared.
    """

    what: str
    passed: bool
    figures: str


def checks(sent: int, recorded: Recorded, report: SwapReport) -> tuple[Check, ...]:
    """All checks of a run.

    Args:
        sent: Number of images that the camera published.
        recorded: The recorded output of the node.
        report: The node's swaps by their cause.
    """
    return (*_images(sent, recorded), *_swaps(recorded, report))


def _images(sent: int, recorded: Recorded) -> tuple[Check, ...]:
    received, segmented, dropped, failed = map(recorded.frames, ("received", "segmented", "dropped", "failed"))
    masks, confidences = len(recorded.masks), recorded.confidences
    return (
        Check("Every image sent reached the node", sent == received, f"{sent} sent, {received} received"),
        Check(
            "Every image received was segmented or counted as dropped",
            failed == 0 and segmented + dropped == received,
            f"{segmented} segmented + {dropped} dropped + {failed} failed of {received}",
        ),
        Check(
            "Every mask and its confidence image was recorded",
            masks == confidences == segmented,
            f"{masks} masks, {confidences} confidence images",
        ),
    )


def _swaps(recorded: Recorded, report: SwapReport) -> tuple[Check, ...]:
    counted, found = recorded.states[-1].swaps if recorded.states else 0, len(recorded.swaps)
    changes, answered = len(report.changes), sum(bool(change.swaps) for change in report.changes)
    return (
        Check("Every swap that the node counted was recorded", counted == found, f"{found} of {counted}"),
        Check("Every change of the domain was followed by a swap", answered == changes, f"{answered} of {changes}"),
        Check("No swap without a change of the domain", not report.stray, f"{len(report.stray)} found"),
    )
