from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from semla_ros.demo.drive import rendered
from semla_ros.demo.live import perform
from semla_ros.demo.processes import DemoError
from semla_ros.demo.run import run_demo
from semla_ros.streetworld.drive import Drive, Leg

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_every_image_of_a_short_drive_through_the_live_node_is_accounted_for(tmp_path: Path) -> None:
    legs = (Leg("clear_day", 3, 1), Leg("clear_night", 6))
    summary = run_demo(tmp_path, legs=legs, settings={"model.device": "cpu"})
    assert summary.frames_sent == summary.frames_received == 100
    assert summary.frames_segmented + summary.frames_dropped == 100
    assert summary.masks_recorded == summary.frames_segmented
    assert [swap["kind"] for swap in summary.swaps] == ["first", "change"]
    assert all(
        (tmp_path / name).stat().st_size for name in ("report.html", "timeline.png", "overlay.mp4", "summary.json")
    )


def demo_processes(module: str = "semla_ros.") -> list[int]:
    """Those that this very process started, by what they run."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(child) for child in children if module in Path(f"/proc/{child}/cmdline").read_text()]


def test_the_error_for_a_node_that_cannot_start_has_its_log(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no model bundle"):
        perform(tmp_path / "none", tmp_path / "recording", tmp_path / "logs", {"model.bundle": "no_such_bundle"})
    assert not demo_processes()


def test_a_node_that_is_not_ready_in_time_is_an_error_and_all_processes_end(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="the node was not ready within 0 s"):
        perform(tmp_path / "none", tmp_path / "recording", tmp_path / "logs", {"model.device": "cpu"}, ready_s=0.1)
    assert not demo_processes()


def test_a_node_that_dies_during_the_drive_ends_the_demo(tmp_path: Path) -> None:
    def kill(masks: int) -> None:
        for node in demo_processes("semla_ros.node.main") if masks > 3 else ():
            os.kill(node, signal.SIGKILL)

    bag = rendered(tmp_path, Drive([Leg("clear_day", 6)]))
    with pytest.raises(DemoError, match="the node ended with exit code -9"):
        perform(bag, tmp_path / "recording", tmp_path / "logs", {"model.device": "cpu"}, kill)
    assert not demo_processes()
    assert (tmp_path / "recording" / "metadata.yaml").is_file()  # what came before is kept, and readable
