"""Several cameras that share one node, over real DDS, around a pipeline without networks."""

from __future__ import annotations

import json
import time

import pytest

pytest.importorskip("rclpy")

from live.gate import VARIABLE, Gate
from live.process import STAND_IN
from live.robot import SYNC_NS, Robot, image, stamp_ns
from live.stand_in import BROKEN, NIGHT, WAIT
from sensor_msgs.msg import Image
from std_msgs.msg import String

pytestmark = pytest.mark.live
SECOND = 10**9
FRONT, REAR = "front/segmentation/mask", "rear/segmentation/mask"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def robot(folder):
    with Robot() as robot:
        parameters = {"cameras": "['front', 'rear']", "domain_cameras": "['front']"}
        process = robot.start(STAND_IN, parameters=parameters, **{VARIABLE: str(folder)})
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        yield robot
        assert process.stop() == 0, process.log


@pytest.fixture
def cameras(robot):
    """Functions that publish an image of each camera, and lists of the masks that arrive, when both work."""
    with (
        robot.hears(Image, FRONT, REAR) as masks,
        robot.camera(topic="front/image") as front,
        robot.camera(topic="rear/image") as rear,
    ):

        def arrived():
            front(image(SECOND))
            rear(image(SECOND))
            robot.counts()
            return all(masks)

        robot.until(arrived, "a mask of each camera")
        front(image(SYNC_NS))
        rear(image(SYNC_NS))
        robot.until(lambda: all(stamp_ns(each[-1]) == SYNC_NS for each in masks), "the masks of the last images sent")
        for heard in masks:
            heard.clear()
        yield front, rear, *masks


def test_each_camera_has_its_masks_under_its_own_name(robot, cameras):
    front, rear, of_front, of_rear = cameras
    front(image(2 * SECOND, width=64, frame_id="front"))
    robot.until(lambda: of_front, "the mask of the front camera")
    rear(image(3 * SECOND, width=32, frame_id="rear"))
    robot.until(lambda: of_rear, "the mask of the rear camera")
    assert [(stamp_ns(each), each.width, each.header.frame_id) for each in of_front] == [(2 * SECOND, 64, "front")]
    assert [(stamp_ns(each), each.width, each.header.frame_id) for each in of_rear] == [(3 * SECOND, 32, "rear")]


def test_the_cameras_take_turns_under_overload_each_with_its_newest_image(robot, cameras, folder):
    front, rear, of_front, of_rear = cameras
    received = robot.counts()["received"]
    with Gate(folder).closed() as gate:
        front(image(10 * SECOND, command=WAIT))
        robot.until(gate.entered, "the first image to be taken")
        for second in range(11, 16):
            front(image(second * SECOND))
        rear(image(20 * SECOND))
        robot.until(lambda: int(robot.figures()["frames_received"]) == received + 7, "all images to be received")
        gate.open()
        robot.until(lambda: len(of_front) == 2 and of_rear, "three masks")
    robot.counts()
    assert [stamp_ns(each) for each in of_front] == [10 * SECOND, 15 * SECOND]
    assert [stamp_ns(each) for each in of_rear] == [20 * SECOND]


def test_waiting_images_of_the_cameras_are_segmented_in_one_pass_if_wanted(robot, cameras, folder):
    front, rear, of_front, of_rear = cameras
    assert robot.set(camera_batch=2).successful
    received = robot.counts()["received"]
    with Gate(folder).closed() as gate:
        front(image(21 * SECOND, command=WAIT))
        robot.until(gate.entered, "the first image to be taken")
        front(image(22 * SECOND, width=32))
        rear(image(23 * SECOND))
        robot.until(lambda: int(robot.figures()["frames_received"]) == received + 3, "all images to be received")
        gate.open()
        robot.until(lambda: len(of_front) == 2 and of_rear, "three masks")
    robot.counts()
    assert [(stamp_ns(each), each.width) for each in of_front] == [(21 * SECOND, 64), (22 * SECOND, 32)]
    assert [stamp_ns(each) for each in of_rear] == [23 * SECOND]
    assert robot.processes[0].log.count("2 images in one pass") == 1
    assert robot.set(camera_batch=1).successful


def test_an_image_that_fails_in_one_pass_with_another_is_lost_alone(robot, cameras, folder):
    front, rear, _, of_rear = cameras
    assert robot.set(camera_batch=2).successful
    before = robot.counts()
    with Gate(folder).closed() as gate:
        front(image(25 * SECOND, command=WAIT))
        robot.until(gate.entered, "the first image to be taken")
        front(image(26 * SECOND, command=BROKEN))
        rear(image(27 * SECOND))
        received = before["received"] + 3
        robot.until(lambda: int(robot.figures()["frames_received"]) == received, "all images to be received")
        gate.open()
        robot.until(lambda: of_rear, "the mask of the rear camera")
    after = robot.counts()
    assert after["failed"] == before["failed"] + 1
    assert after["segmented"] == before["segmented"] + 2
    assert robot.set(camera_batch=1).successful


def test_cameras_that_share_a_domain_with_stamps_of_different_clocks_are_named():
    with Robot() as robot:
        robot.start(STAND_IN, parameters={"cameras": "['front', 'rear']"})
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        with robot.camera(topic="front/image") as front, robot.camera(topic="rear/image") as rear:

            def warned(rear_is_late):
                def look():
                    now = time.time_ns()
                    front(image(now))
                    rear(image(now - rear_is_late * SECOND))
                    time.sleep(0.05)
                    report = robot.newest_report()
                    return bool(report) and "s behind those of front: cameras that share a domain" in report.message

                return look

            robot.until(warned(30), "a warning about the clocks")
            robot.until(lambda: not warned(0)(), "its end when the clocks agree")


def test_the_chosen_camera_decides_the_domain(robot, cameras):
    front, rear, _, of_rear = cameras
    rear(image(30 * SECOND, command=NIGHT))
    robot.until(lambda: of_rear, "the mask of the rear camera")
    robot.counts()
    assert "night" not in robot.state()["active_adapters"]
    front(image(31 * SECOND, command=NIGHT))
    robot.until(lambda: "night" in robot.state()["active_adapters"], "the swap")
    assert robot.set(domain_cameras=[""]).successful
    rear(image(32 * SECOND))
    robot.until(lambda: "night" not in robot.state()["active_adapters"], "the swap back")
    assert robot.set(domain_cameras=["front"]).successful


def test_classes_and_domain_are_published_once_for_all_cameras(robot):
    labels = robot.listen(String, "segmentation/labels", transient_local=True)
    robot.until(lambda: labels, "the labels")
    assert json.loads(labels[0].data)[0]["name"] == "road"
    topics = {name for name, _ in robot.node.get_topic_names_and_types()}
    assert {"/front/segmentation/overlay", "/rear/segmentation/confidence", "/front/domain/support"} <= topics
    assert not {"/front/domain/state", "/front/segmentation/labels"} & topics


def test_diagnostics_name_all_cameras_and_the_silent_one(robot):
    assert robot.set(silence_s=1.0).successful
    with robot.camera(topic="front/image") as front:

        def reported():
            front(image(40 * SECOND))
            time.sleep(0.05)
            message = report.message if (report := robot.newest_report()) else ""
            return "no image on /rear/image" in message and "/front/image" not in message

        robot.until(reported, "a warning about the rear camera alone")
        robot.counts()
    figures = robot.figures()
    assert figures["image_topic"] == "/front/image, /rear/image"
    assert int(figures["front/frames_segmented"]) > 0
    counts = "frames_received", "frames_segmented", "frames_dropped", "frames_failed"
    per_camera = [int(figures[f"front/{count}"]) + int(figures.get(f"rear/{count}", 0)) for count in counts]
    assert per_camera == [int(figures[count]) for count in counts]
    assert robot.set(silence_s=5.0).successful
