from __future__ import annotations

from pathlib import Path

import pytest

from semla_ros.demo.live import perform
from semla_ros.demo.processes import DemoError
from semla_ros.demo.run import run_demo
from semla_ros.streetworld.drive import Leg

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_a_short_drive_goes_through_the_live_node_and_is_fully_accounted(tmp_path: Path) -> None:
    legs = (Leg("clear_day", 3, 1), Leg("clear_night", 6))
    summary = run_demo(tmp_path, legs=legs, settings={"model.device": "cpu"})
    assert summary.frames_sent == summary.frames_received == 100
    assert summary.frames_segmented + summary.frames_dropped == 100
    assert summary.masks_recorded == summary.frames_segmented
    assert [swap["kind"] for swap in summary.swaps] == ["first", "change"]
    assert all(
        (tmp_path / name).stat().st_size for name in ("report.html", "timeline.png", "overlay.mp4", "summary.json")
    )


def test_a_node_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no model bundle"):
        perform(tmp_path / "none", tmp_path / "recording", tmp_path / "logs", {"model.bundle": "no_such_bundle"})
