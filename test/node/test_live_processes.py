"""Processes of the tests leave nothing behind, and the test's own node goes on."""

import threading

import pytest

pytest.importorskip("rclpy")

from live.process import Process, free_domain, release, until

pytestmark = pytest.mark.live
PARTICIPANT = """
import time
from semla_ros.node.environment import name_prefix
name_prefix()
import rclpy
rclpy.init()
node = rclpy.create_node("participant")
time.sleep(600)
"""


@pytest.fixture
def domain():
    domain = free_domain()
    yield domain
    release(domain)


def test_a_killed_process_leaves_no_shared_memory_and_that_of_others_stays(domain):
    with Process(domain, "-c", PARTICIPANT) as killed, Process(domain, "-c", PARTICIPANT) as other:
        until(lambda: killed.shared_memory() and other.shared_memory(), "shared memory", killed, other)
        before = killed.shared_memory() | other.shared_memory()
        killed.kill()
        remaining = {segment for segment in before if segment.exists()}
        assert remaining < before
        assert other.shared_memory() <= remaining


def test_a_publisher_that_is_destroyed_while_the_robot_begins_to_wait_does_not_end_the_robot(monkeypatch):
    from live.robot import Robot
    from rclpy.event_handler import EventHandler
    from rclpy.exceptions import InvalidHandle
    from std_msgs.msg import Float32

    met, add = threading.Event(), EventHandler.add_to_wait_set

    def add_destroyed(self, wait_set):
        if not met.is_set():
            met.set()
            raise InvalidHandle("cannot use Destroyable because destruction was requested")
        add(self, wait_set)

    with Robot() as robot:
        monkeypatch.setattr(EventHandler, "add_to_wait_set", add_destroyed)
        heard = robot.listen(Float32, "number")
        with robot.offers(topic="number", kind=Float32) as numbers:
            robot.until(lambda: numbers.publish(Float32()) or (met.is_set() and heard), "a message")
