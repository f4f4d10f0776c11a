"""``semla play`` over real DDS: what subscribers receive, and the node on a played recording."""

from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np
import pytest
from paths import DATA

pytest.importorskip("rclpy")

from live.process import STAND_IN
from live.robot import MASK, Robot, stamp_ns
from PIL import Image as PillowImage
from rclpy.qos import ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

pytestmark = pytest.mark.live
SECOND = 10**9
PLAY = ("-m", "semla_ros.cli", "play")
TOPIC = "camera/image_raw"


@pytest.fixture
def robot():
    with Robot() as robot:
        yield robot


@pytest.fixture
def folder(tmp_path):
    """Six images of half a second, named by their times."""
    for i in range(6):
        rgb = np.zeros((12, 16, 3), np.uint8)
        rgb[..., 2] = 40 * i  # the stand-in pipeline takes the other channels for commands
        PillowImage.fromarray(rgb).save(tmp_path / f"{1_700_000_000 + 0.1 * i:.1f}.png")
    return tmp_path


@contextmanager
def played(robot, recording, *options):
    """Plays a recording again and again: a subscriber may miss the first messages of a publisher that is new to it."""
    process = robot.start(*PLAY, recording, "--loop", *options)
    yield process
    assert process.stop() == 0, process.log


def test_a_recording_is_played_to_its_end(robot, folder):
    images = robot.listen(Image, TOPIC)
    assert robot.start(*PLAY, folder).wait() == 0
    robot.until(lambda: images, "an image")


def test_images_arrive_with_their_content_and_their_recorded_stamps(robot, folder):
    images = robot.listen(Image, TOPIC)
    with played(robot, folder):
        robot.until(lambda: len({stamp_ns(each) for each in images}) == 6, "six images")
    content = {stamp_ns(each): (each.height, each.width, each.encoding, each.data[2]) for each in images}
    assert content == {1_700_000_000 * SECOND + SECOND // 10 * i: (12, 16, "rgb8", 40 * i) for i in range(6)}


def test_images_are_stamped_with_the_present_time_if_asked(robot, folder):
    images, before = robot.listen(Image, TOPIC), time.time_ns()
    with played(robot, folder, "--stamps", "now", "--rate", "10"):
        robot.until(lambda: len(images) > 6, "seven images")
    stamps = [stamp_ns(each) for each in images]
    assert before < stamps[0]
    assert stamps == sorted(stamps)
    assert stamps[-1] < time.time_ns()


def test_a_bag_is_played_with_its_camera_info(robot):
    jpegs = robot.listen(CompressedImage, "raspicam_node/camera/image/compressed")
    infos = robot.listen(CameraInfo, "raspicam_node/camera/camera_info")
    with played(robot, DATA / "ubiquity_fiducial_board.bag"):
        robot.until(lambda: jpegs and infos, "a compressed image and its camera_info")
    assert bytes(jpegs[0].data[:2]) == b"\xff\xd8"
    assert infos[0].width == 1280


def test_the_recorded_time_is_published_on_the_clock(robot, folder):
    clock = robot.listen(Clock, "/clock")
    with played(robot, folder, "--clock", "--wait", "0"):
        robot.until(lambda: len(clock) > 10, "the clock")
    times = [each.clock.sec * SECOND + each.clock.nanosec for each in clock]
    assert min(times) > 1_699_999_999 * SECOND
    assert max(times) <= 1_700_000_000 * SECOND + 6 * SECOND // 10  # the last image, and the gap before the next round
    assert len(set(times)) > 6  # also between two images


def test_images_are_published_best_effort_if_asked(robot, folder):
    images = robot.listen(Image, TOPIC, reliable=False)
    with played(robot, folder, "--rate", "20", "--best-effort"):
        robot.until(lambda: len(images) > 12, "more images than the recording has")
        (publisher,) = robot.node.get_publishers_info_by_topic(f"/{TOPIC}")
    assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT


def test_the_node_segments_a_played_recording(robot, folder):
    node = robot.start(STAND_IN, remap={"image": f"/{TOPIC}"})
    masks = robot.listen(Image, MASK)
    robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
    with played(robot, folder):
        robot.until(lambda: len({stamp_ns(each) for each in masks}) == 6, "six masks")
    assert node.stop() == 0


WRONG = {
    "nobody subscribes": (("--wait", "0.5"), "nobody subscribes (/camera/image_raw). Start the node first"),
    "a name that is no topic's": (("--image-topic", "bad topic"), "not a name in ROS 2"),
    "nothing to play": (("--wait", "0", "--start", "100"), "nothing to play"),
    "two kinds of time": (("--clock", "--stamps", "now"), "--clock needs the recorded stamps"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_played_ends_with_one_line_and_exit_code_1(robot, folder, wrong):
    options, words = WRONG[wrong]
    process = robot.start(*PLAY, folder, *options)
    assert process.wait() == 1
    assert words in process.log
    assert "Traceback" not in process.log
