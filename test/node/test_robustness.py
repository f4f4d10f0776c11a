"""The real node under bad messages, more frames than it can process, and soaks. Around the stand-in pipeline."""

from __future__ import annotations

import array
import os
import random
import time
from statistics import median

import pytest

pytest.importorskip("rclpy")

from live.process import STAND_IN
from live.robot import MASK, Robot, image, stamp_ns
from sensor_msgs.msg import Image

pytestmark = pytest.mark.live
SECOND = 10**9
BAD = 1000
OVERLOAD_S = int(os.environ.get("SEMLA_OVERLOAD_S", "5"))  # a release is tried with minutes
MAX_GROWTH_MB = 30.0  # of 1,000 kept images of 64 KB would be 64 MB, and of 1,000 tracebacks more


@pytest.fixture(scope="module")
def robot():
    with Robot() as robot:
        process = robot.start(STAND_IN)
        robot.until_active()
        yield robot
        assert process.stop() == 0, process.log


def malformed(draw):
    """An image message of any kind that a broken driver may send."""
    message = image(SECOND, width=160, height=130)
    kind = draw.randrange(6)
    if kind == 0:
        message.encoding = "".join(draw.choices("abcdef0123456789_ \0é", k=draw.randrange(300)))
    elif kind == 1:
        message.data = array.array("B", draw.randbytes(draw.randrange(3 * 160 * 130)))
    elif kind == 2:
        message.width, message.height = draw.randrange(2**32), draw.randrange(2**32)
    elif kind == 3:
        message.step = draw.randrange(3 * 160)
    elif kind == 4:
        message.encoding, message.width = "yuv422", 159
    else:
        message = Image()
    return message


def test_all_good_frames_among_a_thousand_malformed_ones_are_answered_and_nothing_grows(robot):
    draw = random.Random(5)
    before, memory = robot.counts(), float(robot.figures()["memory_mb"])
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for sent in range(1, BAD // 10 + 1):
            for _ in range(10):
                publish(malformed(draw))
            # The newest message waits for the worker; an older one would be replaced and count as dropped.
            publish(image(SECOND * sent))
            robot.until(lambda sent=sent: masks and stamp_ns(masks[-1]) == SECOND * sent, f"the mask of image {sent}")
        after = robot.counts()
        figures = robot.figures()
    changes = {name: count - before[name] for name, count in after.items()}
    assert [stamp_ns(mask) for mask in masks] == [SECOND * (i + 1) for i in range(BAD // 10)]
    assert changes["segmented"] == BAD // 10
    assert changes["failed"] > 0
    assert changes["received"] == changes["segmented"] + changes["failed"] + changes["dropped"]
    assert float(figures["memory_mb"]) - memory < MAX_GROWTH_MB
    assert figures["last_error"]
    assert len(robot.processes[0].log) < 200_000


@pytest.mark.slow
def test_a_camera_six_times_too_fast_costs_frames_and_no_latency_and_is_explained_once(robot):
    """60 Hz into a node that takes 100 ms per frame."""
    node, log = robot.processes[0], len(robot.processes[0].log)
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        before, lateness = robot.counts(), []

        def feed():
            for _ in range(30):
                publish(image(time.time_ns(), delay=10))
                time.sleep(1 / 60)
            if masks:
                lateness.append(1e-9 * (time.time_ns() - stamp_ns(masks[-1])))
            return "images arrive faster than they are processed" in node.log[log:]

        robot.until(feed, "the advice in the log")
        for _ in range(2 * OVERLOAD_S):
            feed()
        figures, after = robot.figures(), robot.counts()
    changes = {name: count - before[name] for name, count in after.items()}
    assert node.log[log:].count("images arrive faster than they are processed") == 1
    assert "The stage 'segment' takes" in node.log[log:]
    assert "'segment' takes" in figures["too_slow"]
    assert changes["failed"] == 0
    assert changes["dropped"] > 2 * changes["segmented"] > 0
    third = len(lateness) // 3
    first, last = median(lateness[:third]), median(lateness[-third:])
    assert last < 3 * first + 1.0, f"the latency has grown from {first:.1f} to {last:.1f} s"  # a queue: from 2 to 9 s
