"""Processes of the tests leave nothing behind."""

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
