"""How the node starts and ends: processes, command lines, exit codes."""

import signal
import time
from contextlib import contextmanager

import pytest
from paths import CONFIG, LIVE

pytest.importorskip("rclpy")

from live.process import STAND_IN, Process, free_domain
from live.robot import Robot, image, stamp_ns
from sensor_msgs.msg import Image

pytestmark = pytest.mark.live
SECOND = 10**9
LARGE_IMAGES = CONFIG / "fastdds_large_images.xml"


@contextmanager
def running(**options):
    """A node around the stand-in pipeline, and a robot beside it."""
    robot = Robot(free_domain())
    process = Process(robot.domain, STAND_IN, **options)
    try:
        yield process, robot
    finally:
        if process.popen.poll() is None:
            process.stop(signal.SIGKILL)
        robot.close()


def ended(**options):
    """Exit code and log of a node that does not come up."""
    process = Process(free_domain(), STAND_IN, **options)
    return process.wait(), process.log


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_busy_node_cleanly(how):
    with running() as (process, robot), robot.camera() as publish:
        for i in range(1, 30):
            publish(image(SECOND * i, width=640, height=480, delay=1))
            time.sleep(0.005)
        assert process.stop(how) == 0
        assert "Traceback" not in process.log
        assert "ERROR" not in process.log


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_models_load_ends_the_node_cleanly(how):
    with running(parameters={"model.bundle": "slow"}) as (process, robot):
        robot.until(lambda: robot.node.count_publishers("/diagnostics"))
        assert process.stop(how) == 0
        assert "Traceback" not in process.log
        assert "ERROR" not in process.log


def test_a_missing_bundle_ends_the_node_with_one_clear_message():
    code, log = ended(parameters={"model.bundle": "missing"})
    assert code == 1
    assert [line.partition("]: ")[2] for line in log.splitlines()] == ["no such model bundle (missing)"]


def test_an_error_nobody_thought_of_while_loading_is_shown_whole():
    code, log = ended(parameters={"model.bundle": "broken"})
    assert code == 1
    assert "RuntimeError: nobody thought of this" in log
    assert "Traceback" in log


def test_a_wrong_parameter_at_the_start_ends_the_node_with_one_clear_message():
    code, log = ended(parameters={"fusion.k": "many"})
    assert code == 1
    assert [line.partition("]: ")[2] for line in log.splitlines()] == [
        "setting of the wrong type (fusion.k): got 'many', expected int"
    ]


def test_a_wrong_qos_override_ends_the_node_with_one_clear_message():
    name = "qos_overrides./image.subscription.reliability"
    code, log = ended(parameters={name: "sometimes"})
    assert code == 1
    assert f"no such reliability ({name}): got sometimes, expected auto | reliable | best_effort" in log
    assert "Traceback" not in log


def test_without_autostart_the_node_waits_to_be_configured_and_survives_a_missing_bundle():
    with running(parameters={"autostart": False, "model.bundle": "missing"}) as (process, robot):
        assert robot.lifecycle() == "unconfigured"
        assert not robot.change("configure")
        assert robot.lifecycle() == "unconfigured"
        assert "no such model bundle (missing)" in process.log
        assert process.stop() == 0


def test_namespace_and_remapping_move_the_topics():
    options = {"remap": {"__ns": "/front", "image": "/camera/image_raw"}}
    with (
        running(**options) as (_, robot),
        robot.hears(Image, "/front/segmentation/mask") as (masks,),
        robot.camera(topic="/camera/image_raw") as publish,
    ):
        publish(image(SECOND))
        robot.until(lambda: masks)


def test_the_compressed_topic_follows_a_remapped_image():
    options = {"remap": {"image": "/camera/image_raw"}, "parameters": {"image_transport": "compressed"}}
    with running(**options) as (_, robot):
        robot.until(lambda: robot.node.count_subscribers("/camera/image_raw/compressed"))


def test_qos_overrides_are_obeyed():
    overrides = {
        "qos_overrides./image.subscription.reliability": "best_effort",
        "qos_overrides./segmentation/mask.publisher.reliability": "best_effort",
    }
    with running(parameters=overrides) as (_, robot), robot.offers(reliable=True):
        subscriptions = robot.until(lambda: robot.node.get_subscriptions_info_by_topic("/image"))
        publishers = robot.until(lambda: robot.node.get_publishers_info_by_topic("/segmentation/mask"))
        time.sleep(0.5)  # a reliable camera changes nothing
        subscriptions += robot.node.get_subscriptions_info_by_topic("/image")
    assert {each.qos_profile.reliability.name for each in subscriptions + publishers} == {"BEST_EFFORT"}


def test_the_shipped_profile_lets_large_best_effort_images_through():
    profile = {"FASTDDS_DEFAULT_PROFILES_FILE": str(LARGE_IMAGES)}
    camera = LIVE / "large_camera.py"
    robot = Robot(free_domain())
    node = Process(robot.domain, STAND_IN, **profile)
    try:
        with robot.hears(Image, "segmentation/mask", reliable=False) as (masks,):
            sender = Process(robot.domain, camera, **profile)
            robot.until(lambda: len(masks) == 10, timeout_s=15.0)
            assert sender.wait() == 0
    finally:
        code = node.stop()
        robot.close()
    assert code == 0
    assert [stamp_ns(mask) for mask in masks] == [SECOND * i for i in range(1, 11)]
    assert {(mask.width, mask.height) for mask in masks} == {(1280, 720)}
