from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import image

from semla_ros.bench.reloads import reloads, summary


def mask(latency_ms: float, at_reload: bool, dropped: int = 0, reload_s: float = 0.0) -> dict[str, Any]:
    return {
        "masks": 0, "swaps": 0, "changes": 0, "reloads": int(reload_s > 0), "dropped": dropped,
        "latency_ms": latency_ms, "at_reload": at_reload, "reload_s": reload_s,
    }  # fmt: skip


def test_masks_at_a_reload_are_judged_apart_from_the_others_and_those_before_the_first_do_not_count() -> None:
    masks = [
        mask(900, False, dropped=7),  # the start
        mask(60, True, dropped=8), mask(180, True, dropped=10), mask(60, True, 10, reload_s=0.5),
        mask(60, False, 10, 0.5), mask(110, False, 11, 0.5), mask(60, False, 11, 0.5),
    ]  # fmt: skip
    figures = summary(masks, 10.0)
    assert figures.frames == 6
    assert figures.median_ms == 60
    assert figures.worst_at_reload == pytest.approx(1.2)
    assert figures.worst_elsewhere == pytest.approx(0.5)
    assert (figures.late_at_reload, figures.late_elsewhere) == (1, 0)
    assert (figures.dropped_at_reload, figures.dropped_elsewhere) == (3, 1)
    assert (figures.reloads, figures.reload_s) == (1, 0.5)


@pytest.mark.live
def test_the_live_node_reloads_its_library_while_a_camera_runs(pristine_bundle: Path) -> None:
    settings = {"model.bundle": str(pristine_bundle), "model.device": "cpu"}
    figures = reloads(image("red"), 2, 10.0, settings, every_s=2.0)
    assert figures.reloads >= 2
    assert figures.reload_s > 0
    assert figures.median_ms > 0
    assert figures.frames > 20
