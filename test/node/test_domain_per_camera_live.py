"""Several cameras with a domain each, over real DDS, around a pipeline without networks."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from live.process import STAND_IN
from live.robot import Robot, image, values
from live.stand_in import NIGHT
from std_srvs.srv import SetBool, Trigger

pytestmark = pytest.mark.live
SECOND = 10**9


@pytest.fixture(scope="module")
def robot():
    with Robot() as robot:
        parameters = {"cameras": "['front', 'rear']", "domain_per_camera": "true"}
        process = robot.start(STAND_IN, parameters=parameters)
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        yield robot
        assert process.stop() == 0, process.log


@pytest.fixture(scope="module")
def states(robot):
    """The newest domain state of each camera."""
    heard = {
        name: robot.listen(DiagnosticArray, f"{name}/domain/state", transient_local=True) for name in ("front", "rear")
    }
    robot.until(lambda: all(heard.values()), "a domain state of each camera")
    return lambda name: values(heard[name][-1].status[0])


def test_each_camera_has_the_state_of_its_own_domain(robot, states):
    with robot.camera(topic="front/image") as front, robot.camera(topic="rear/image") as rear:

        def sent():
            front(image(2 * SECOND, command=NIGHT))
            rear(image(3 * SECOND))
            time.sleep(0.05)
            return (float(states("front")["ema_distance"]), float(states("rear")["ema_distance"])) == (2.0, 3.0)

        robot.until(sent, "the states after both images")
        robot.counts()
    assert "night" in states("front")["active_adapters"]
    assert "night" not in states("rear")["active_adapters"]


def test_there_is_no_domain_of_the_node(robot, states):
    def published():
        return {name for name, _ in robot.node.get_publisher_names_and_types_by_node("semla", "/")}

    wanted = {"/front/domain/state", "/rear/domain/state", "/segmentation/labels"}
    robot.until(lambda: wanted <= published(), f"publishers of {wanted}")
    assert "/domain/state" not in published()


def test_freeze_and_reset_concern_every_camera(robot, states):
    assert robot.call(SetBool, "semla/freeze", data=True).success
    robot.until(lambda: {states(name)["frozen"] for name in ("front", "rear")} == {"true"}, "both to be frozen")
    assert robot.call(SetBool, "semla/freeze", data=False).success
    assert robot.call(Trigger, "semla/reset").success
    robot.until(lambda: {states(name)["frozen"] for name in ("front", "rear")} == {"false"}, "both to be released")
    robot.until(lambda: [states(name)["swaps"] for name in ("front", "rear")] == ["0", "0"], "both to be reset")


def test_images_of_different_domains_are_not_segmented_in_one_pass(robot):
    answer = robot.set(camera_batch=2)
    assert not answer.successful
    assert "expected 1 with domain_per_camera" in answer.reason


def test_cameras_that_decide_a_shared_domain_contradict_it(robot):
    answer = robot.set(domain_cameras=["front"])
    assert not answer.successful
    assert "expected an empty list with domain_per_camera" in answer.reason
