"""The node with the bundled models: without any network, and with a library that vanishes from disk."""

import functools
import shutil

import pytest
from paths import LIVE

pytest.importorskip("rclpy")

from live.robot import MASK, Robot, stamp_ns
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from semla_ros.library.bundle import ADAPTERS, find_bundle
from semla_ros.node import message_factory
from semla_ros.streetworld.dataset import sample
from semla_ros.topics import messages

pytestmark = pytest.mark.live
TENTH = 10**8
SETTINGS = {
    "model.device": "cpu", "navigator.period_s": 0.2, "navigator.max_share": 1.0, "tracker.debounce_s": 0.0,
    "tracker.min_interval_s": 0.0, "tracker.ema_time_s": 0.0, "library.memory_mib": 1,
}  # fmt: skip


@pytest.fixture
def bundle(tmp_path):
    return shutil.copytree(find_bundle("streetworld"), tmp_path / "streetworld")


@functools.cache
def shot(domain):
    return sample(domain, 0, seed=7).rgb


def message(domain, stamp):
    header = Header(frame_id="camera")
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    return messages.image(header, shot(domain), message_factory.new)


def test_without_a_network_the_node_segments_swaps_and_outlives_its_library(bundle):
    away = bundle / "away"
    with Robot() as robot:
        process = robot.start(LIVE / "offline_node.py", parameters={**SETTINGS, "model.bundle": str(bundle)})
        robot.until_active()
        with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
            stamps = iter(range(10 * TENTH, 10**14, 2 * TENTH))

            def shown(domain):
                """Shows an image, waits for its mask and returns the domain state."""
                stamp = next(stamps)
                publish(message(domain, stamp))
                robot.until(lambda: masks and stamp_ns(masks[-1]) == stamp, f"the mask of {stamp}")
                return robot.state()

            robot.until(lambda: "clear_day" in shown("clear_day")["active_adapters"], "the mixture of the day")
            (bundle / ADAPTERS).rename(away)
            robot.until(lambda: "unreadable adapter" in shown("clear_night")["error"], "the error of the swap")
            # The mixture of the day stays, unless the adapter of the night is still in memory: it is used alone then.
            state = robot.state()
            is_alone = "clear_night" in state["active_adapters"] and "left out of the mixture" in state["error"]
            assert "clear_day" in state["active_adapters"] or is_alone
            robot.until(lambda: f"{bundle / ADAPTERS} is gone" in robot.report().message, "the warning about it")
            assert not robot.call(Trigger, "semla/reload_library").success
            shown("clear_night")
            away.rename(bundle / ADAPTERS)
            robot.until(lambda: "clear_night" in shown("clear_night")["active_adapters"], "the mixture of the night")
            assert robot.call(Trigger, "semla/reload_library").message.endswith("13 adapters in use")
            robot.until(lambda: shown("clear_night")["error"] == "", "a state without an error")

            def is_fine():  # warnings last five seconds; so long without an image brings one more
                shown("clear_night")
                return robot.report().level == b"\x00"

            robot.until(is_fine, "diagnostics without a warning")
        assert robot.counts()["failed"] == 0
        assert process.stop() == 0, process.log
    assert "FORBIDDEN" not in process.log
