"""The recorder of the demo, ended by a signal at any moment."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from live.process import STAND_IN
from live.robot import Robot, image
from rosbags.rosbag2 import Reader

pytestmark = [pytest.mark.live, pytest.mark.slow]
TRIES = int(os.environ.get("SEMLA_SIGNAL_TRIES", "3"))


@pytest.mark.parametrize("seed", range(TRIES))
def test_a_signal_at_a_random_moment_leaves_a_readable_bag_and_no_shared_memory(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    with Robot() as robot:
        robot.start(STAND_IN)
        robot.until_active()
        recorder = robot.start("-m", "semla_ros.demo.recorder", tmp_path / "bag")
        robot.until(recorder.handles_signals, "the handlers of signals")
        end = time.monotonic() + draw.uniform(0.0, 6.0)  # its start takes a part of that
        with robot.camera() as publish:
            while time.monotonic() < end:
                publish(image(time.time_ns(), width=384, height=240))
                time.sleep(0.03)
            maps = Path(f"/proc/{recorder.popen.pid}/maps").read_text()
            used = {Path(name) for name in re.findall(r"/dev/shm/fastdds_[0-9a-f]{16}\b", maps)}
            assert recorder.stop(draw.choice((signal.SIGINT, signal.SIGTERM))) == 0, recorder.log
        robot.processes.remove(recorder)
        in_use = {Path(name) for name in re.findall(r"/dev/shm/fastdds_[0-9a-f]{16}\b", robot_maps(robot))}
        assert not [segment for segment in used - in_use if segment.exists()]
    with Reader(tmp_path / "bag") as bag:
        assert all(raw for _, _, raw in bag.messages())
        assert "Traceback" not in recorder.log


def robot_maps(robot: Robot) -> str:
    """What the robot's own process and its node have mapped."""
    processes = ["self", *(str(process.popen.pid) for process in robot.processes)]
    return "".join(Path(f"/proc/{process}/maps").read_text() for process in processes)
