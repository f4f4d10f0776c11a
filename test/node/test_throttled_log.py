import pytest

from semla_ros.node.throttled_log import DIFFERENT, PERIOD_S, ThrottledLogger


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, message):
        self.lines.append(message)

    error = warning


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def throttled(log, clock):
    return ThrottledLogger(log, lambda: clock[0])


def test_the_same_text_is_said_once_in_a_period_and_again_after_it(throttled, log, clock):
    for _ in range(50):
        throttled.error("lost")
    assert log.lines == ["lost"]
    clock[0] += PERIOD_S
    throttled.error("lost")
    assert log.lines == ["lost", "lost"]


def test_different_texts_are_each_said(throttled, log):
    throttled.error("truncated")
    throttled.warning("no image")
    assert log.lines == ["truncated", "no image"]


def test_texts_that_change_with_every_frame_do_not_flood_the_log(throttled, log, clock):
    for number in range(1000):
        throttled.error(f"got {number} bytes")
        clock[0] += 0.001
    assert len(log.lines) == DIFFERENT
