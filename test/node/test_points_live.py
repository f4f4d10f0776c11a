"""The segmented point cloud of the running node, over real DDS, around a pipeline without networks."""

from __future__ import annotations

import array
import time

import numpy as np
import pytest
from clouds import point_array

pytest.importorskip("rclpy")

from live.process import STAND_IN
from live.robot import CONFIDENCE, MASK, Robot, image, stamp_ns
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

pytestmark = pytest.mark.live
SECOND = 10**9
DEPTH, DEPTH_INFO, POINTS = "depth/image", "depth/camera_info", "segmentation/points"


@pytest.fixture(scope="module")
def robot():
    with Robot() as robot:
        process = robot.start(STAND_IN, parameters={"depth_topic": DEPTH})
        robot.until_active()
        yield robot
        assert process.stop() == 0, process.log


@pytest.fixture
def node(robot):
    return robot.processes[0]


def depth(stamp, metres=2.0, width=64, height=48, frame_id="front"):
    message = Image(height=height, width=width, encoding="16UC1", step=2 * width)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
    message.data = array.array("B", np.full((height, width), 1000 * metres, "<u2").tobytes())
    return message


def intrinsics(width=64, height=48):
    info = CameraInfo(width=width, height=height)
    info.k = [50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
    return info


def clouds_of(robot, make_depth, stamp, everything=lambda: True):
    """Sends camera images with what ``make_depth`` makes of their stamp, until a cloud and ``everything`` arrives.

    The node keeps depth images: a stamp of its own lets no other test's depth image answer.
    """
    with (
        robot.hears(PointCloud2, POINTS) as (clouds,),
        robot.camera() as publish,
        robot.offers(topic=DEPTH) as depths,
        robot.offers(topic=DEPTH_INFO, kind=CameraInfo) as infos,
    ):

        def arrived():
            infos.publish(intrinsics())
            depths.publish(make_depth(stamp))
            publish(image(stamp))
            time.sleep(0.05)
            return clouds and everything()

        robot.until(arrived, "a point cloud and what belongs to it")
        robot.settle(publish)
    return clouds


def test_a_depth_image_gives_the_mask_its_points(robot):
    cloud = clouds_of(robot, lambda stamp: depth(stamp + SECOND // 100), stamp=20 * SECOND)[0]
    found = point_array(cloud)
    assert (cloud.height, cloud.width, stamp_ns(cloud), cloud.header.frame_id) == (48, 64, 20 * SECOND, "front")
    assert set(found["z"].ravel()) == {2.0}
    np.testing.assert_allclose(found["x"][0], 2.0 * (np.arange(64) - 32) / 50, rtol=1e-6)
    np.testing.assert_allclose(found["y"][:, 0], 2.0 * (np.arange(48) - 24) / 50, rtol=1e-6)
    np.testing.assert_allclose(found["confidence"], 0.6, atol=1e-6)
    assert list(found["class_id"][0, :4]) == [0, 1, 2, 0]


def test_the_mask_takes_the_size_of_the_cloud_if_asked(robot):
    assert robot.set(output_size="cloud").successful
    with robot.hears(Image, MASK) as (masks,):
        cloud = clouds_of(
            robot,
            lambda stamp: depth(stamp, width=128, height=96),
            stamp=25 * SECOND,
            everything=lambda: any((each.height, each.width) == (96, 128) for each in masks),
        )[-1]
    assert robot.set(output_size="image").successful
    assert (cloud.height, cloud.width) == (96, 128)


REFUSED = {
    "another frame_id": (lambda stamp: depth(stamp, frame_id="left"), "depth image of another frame_id"),
    "other proportions": (lambda stamp: depth(stamp, width=48), "depth image of other proportions"),
    "another time": (lambda stamp: depth(stamp + SECOND), "no depth image for the camera image"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_depth_image_that_does_not_fit_is_reported_and_masks_go_on(robot, node, wrong):
    make, words = REFUSED[wrong]
    stamp = SECOND * (30 + 10 * list(REFUSED).index(wrong))  # far from the depth images of other tests
    with (
        robot.hears(PointCloud2, POINTS),
        robot.hears(Image, MASK) as (masks,),
        robot.camera() as publish,
        robot.offers(topic=DEPTH) as depths,
        robot.offers(topic=DEPTH_INFO, kind=CameraInfo) as infos,
    ):

        def reported():
            infos.publish(intrinsics())
            depths.publish(make(stamp))
            publish(image(stamp))
            return f"nothing is published on /segmentation/points: {words}" in robot.report().message

        robot.until(reported, f"{words} in the diagnostics")
        robot.until(lambda: masks, "masks")
        robot.settle(publish)
    assert words in node.log


def test_depth_images_that_may_still_be_on_their_way_are_not_called_missing(robot):
    assert robot.set(silence_s=3600.0).successful
    with robot.hears(PointCloud2, POINTS), robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        robot.until(lambda: publish(image(90 * SECOND)) or time.sleep(0.05) or masks, "a mask")
        robot.counts()
        message = robot.report().message
    assert robot.set(silence_s=5.0).successful
    assert "nothing is published" not in message


def test_without_a_subscriber_of_points_the_node_does_not_subscribe_to_depth_images(robot):
    with robot.hears(PointCloud2, POINTS), robot.offers(topic=DEPTH) as depths:
        robot.until(depths.get_subscription_count, "the node to subscribe")
        robot.forget(POINTS)
        robot.until(lambda: not depths.get_subscription_count(), "the node to end its subscription")


def test_a_best_effort_subscriber_receives_mask_confidence_and_points_of_one_stamp(robot):
    """Nav2's layer subscribes best effort."""
    topics = {MASK: Image, CONFIDENCE: Image, POINTS: PointCloud2}
    heard = {topic: robot.listen(kind, topic, reliable=False) for topic, kind in topics.items()}
    stamps = lambda: [{stamp_ns(each) for each in messages} for messages in heard.values()]  # noqa: E731
    clouds_of(robot, depth, 70 * SECOND, everything=lambda: 70 * SECOND in set.intersection(*stamps()))
    robot.forget(POINTS)


def test_a_costmap_that_would_misread_the_confidence_is_named_with_the_remedy(robot, node):
    words = "local_costmap reads the confidence as mono8, and it is 32FC1: set confidence_encoding to mono8"
    with robot.another("local_costmap") as costmap:
        costmap.create_subscription(Image, CONFIDENCE, print, qos_profile_sensor_data)
        assert robot.set(confidence_encoding="32FC1").successful
        robot.until(lambda: words in robot.report().message, f"{words!r} in the diagnostics")
        assert robot.set(confidence_encoding="mono8").successful
        robot.until(lambda: words not in robot.report().message, "the warning to end")
    assert words in node.log


def test_a_costmap_that_would_misread_the_mask_is_named_with_the_remedy(robot):
    words = "local_costmap reads the mask as mono8, and with 300 classes it is mono16: segment at most 255 classes"
    with robot.another("local_costmap") as costmap:
        costmap.create_subscription(Image, MASK, print, qos_profile_sensor_data)
        assert robot.set(segmenter__classes=[f"thing {i}" for i in range(300)]).successful
        robot.until(lambda: words in robot.report().message, f"{words!r} in the diagnostics")
        assert robot.set(segmenter__classes=[""]).successful
        robot.until(lambda: words not in robot.report().message, "the warning to end")


def test_the_size_of_the_cloud_needs_a_depth_camera():
    with Robot() as robot:
        robot.start(STAND_IN)
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        answer = robot.set(output_size="cloud")
    assert not answer.successful
    assert answer.reason == "no depth camera (output_size): got cloud, expected image, or a depth_topic"
