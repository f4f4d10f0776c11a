"""The node as a user starts it, with the bundled models."""

import json
import math
import time

import numpy as np
import pytest
from paths import DATA

pytest.importorskip("rclpy")

from live.process import Process, free_domain
from live.robot import Robot, stamp_ns
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from semla_ros.errors import BundleError
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.node import messages
from semla_ros.recordings import open_recording
from semla_ros.streetworld.dataset import sample

pytestmark = pytest.mark.live
MASK, CONFIDENCE = "segmentation/mask", "segmentation/confidence"
NODE = ("-m", "semla_ros.node.main")
HIGHWAY = DATA / "udacity_highway.mp4"
TENTH = 10**8


@pytest.fixture(scope="module")
def bundle():
    try:
        return Bundle.open(find_bundle("streetworld"))
    except BundleError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def robot(bundle):
    robot = Robot(free_domain())
    process = Process(robot.domain, *NODE, parameters={"model.device": "cpu"})
    robot.until(lambda: robot.lifecycle() == "active", timeout_s=60.0)
    robot.warm_up()
    yield robot
    robot.close()
    assert process.stop() == 0
    assert "ERROR" not in process.log, process.log


def message(rgb, stamp, frame_id="camera_front"):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    return messages.image(header, rgb)


def drive(robot, publish, masks, domain, stamps):
    """Shows images of a domain, as fast as the node takes them; returns the domain state it ends with.

    The navigator works beside the frames: what it saw in the last one comes out with a later one.
    """
    repeats = range(stamps[-1] + 1, stamps[-1] + 50)
    for i, stamp in enumerate([*stamps, *repeats]):
        if stamp_ns(robot.states[-1]) >= stamps[-1]:
            break
        publish(message(sample(domain, i % 4, seed=7).rgb, stamp))
        robot.until(lambda stamp=stamp: masks and stamp_ns(masks[-1]) == stamp)
    return robot.state()


def test_a_missing_bundle_ends_the_node_with_one_clear_message():
    process = Process(free_domain(), *NODE, parameters={"model.bundle": "atlantis"})
    assert process.wait(60.0) == 1
    assert sum("[FATAL]" in line and "atlantis" in line for line in process.log.splitlines()) == 1
    assert "Traceback" not in process.log


def test_ten_frames_a_second_are_segmented_or_counted_as_dropped(robot):
    before = robot.counts()
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        sent = [message(sample("clear_day", i % 4, seed=7).rgb, 10**9 + i * TENTH) for i in range(30)]
        for each in sent:
            publish(each)
            time.sleep(0.1)
        robot.until(lambda: stamp_ns(confidences[-1]) == stamp_ns(sent[-1]))
    after = robot.counts()
    assert after["received"] - before["received"] == 30
    assert after["segmented"] - before["segmented"] + after["dropped"] - before["dropped"] == 30
    assert after["failed"] == 0
    assert len(masks) == len(confidences) == after["segmented"] - before["segmented"]
    headers = [each.header for each in sent]
    assert all(mask.header in headers for mask in masks)
    assert {(mask.width, mask.height, mask.encoding) for mask in masks} == {(384, 240, "mono8")}


def test_every_pixel_is_one_of_the_bundles_classes(robot, bundle):
    labels = robot.listen(String, "segmentation/labels", transient_local=True)
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(message(sample("clear_day", 0, seed=7).rgb, TENTH))
        robot.until(lambda: masks and labels)
    robot.forget(labels)
    told = json.loads(labels[-1].data)
    assert [each["name"] for each in told] == list(bundle.classes)
    assert set(masks[0].data) <= {each["id"] for each in told}


def test_night_after_day_brings_other_adapters(robot):
    robot.call(Trigger, "semla/reset")
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        day = drive(robot, publish, masks, "clear_day", range(10 * TENTH, 30 * TENTH, 5 * TENTH))
        night = drive(robot, publish, masks, "clear_night", range(30 * TENTH, 90 * TENTH, 5 * TENTH))
    assert int(night["swaps"]) > int(day["swaps"]) == 1
    assert weights(day) != weights(night)
    assert math.fsum(weights(night).values()) == pytest.approx(1.0, abs=1e-4)


def weights(state):
    return {each["name"]: each["weight"] for each in json.loads(state["active_adapters"])}


def test_new_words_are_segmented_at_once(robot, bundle):
    assert robot.set(segmenter__classes=["road", "sky"]).successful
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(message(sample("clear_day", 0, seed=7).rgb, TENTH))
        robot.until(lambda: masks)
    assert set(masks[0].data) <= {0, 1}
    assert robot.set(segmenter__classes=[""]).successful


def test_a_real_recording_goes_through_the_node_in_its_own_size_and_time(robot):
    frames = [frame for frame, _ in zip(open_recording(HIGHWAY).frames(), range(10), strict=False)]
    robot.call(Trigger, "semla/reset")
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        for i, frame in enumerate(frames, start=1):
            publish(message(frame.rgb, frame.stamp_ns, "windscreen"))
            robot.until(lambda count=i: len(confidences) == len(masks) == count)
    expected = [frame.stamp_ns for frame in frames]
    assert [stamp_ns(mask) for mask in masks] == expected
    assert {(mask.width, mask.height, mask.header.frame_id) for mask in masks} == {(960, 540, "windscreen")}
    assert np.ptp(np.frombuffer(confidences[0].data, np.uint8)) > 0
