"""What should be so after a run: every image accounted for, and every swap."""

from __future__ import annotations

from dataclasses import dataclass

from semla_ros.demo.changes import Verdict
from semla_ros.demo.recorded import Recorded


@dataclass(frozen=True)
class Check:
    """Something that should be so: what, whether it is, and the figures."""

    what: str
    passed: bool
    figures: str


def checks(sent: int, recorded: Recorded, verdict: Verdict) -> tuple[Check, ...]:
    """All checks of a run.

    Args:
        sent: Number of images the camera sent.
        recorded: What was recorded of the node.
        verdict: Its swaps, told apart.
    """
    return (*_images(sent, recorded), *_swaps(recorded, verdict))


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
            "Every mask and its confidence is on record",
            masks == confidences == segmented,
            f"{masks} masks, {confidences} confidence images",
        ),
    )


def _swaps(recorded: Recorded, verdict: Verdict) -> tuple[Check, ...]:
    counted, found = recorded.states[-1].swaps if recorded.states else 0, len(recorded.swaps)
    changes, answered = len(verdict.changes), sum(bool(change.swaps) for change in verdict.changes)
    return (
        Check("Every swap the node counted is on record", counted == found, f"{found} of {counted}"),
        Check("Every change of the weather brought a swap", answered == changes, f"{answered} of {changes}"),
        Check("No swap inside a steady stretch", not verdict.stray, f"{len(verdict.stray)} found"),
    )
