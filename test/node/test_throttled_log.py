import pytest

from semla_ros.errors import ImageError
from semla_ros.node.throttled_log import DIFFERENT, MAX_LENGTH, PERIOD_S, ThrottledLogger, explained, reason


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


def test_the_same_text_is_logged_once_per_period(throttled, log, clock):
    for _ in range(50):
        throttled.error("lost")
    assert log.lines == ["lost"]
    clock[0] += PERIOD_S
    throttled.error("lost")
    assert log.lines == ["lost", "lost"]


def test_different_texts_are_each_logged(throttled, log):
    throttled.error("truncated")
    throttled.warning("no image")
    assert log.lines == ["truncated", "no image"]


def test_texts_that_change_with_every_frame_do_not_flood_the_log(throttled, log, clock):
    for number in range(1000):
        throttled.error(f"got {number} bytes")
        clock[0] += 0.001
    assert len(log.lines) == DIFFERENT


def test_an_error_of_our_own_is_its_message_and_an_unexpected_one_has_its_type():
    assert reason(ImageError("empty image", got="0x0")) == "empty image: got 0x0"
    assert reason(ValueError("odd")) == "ValueError: odd"


def test_a_long_error_is_shortened_and_keeps_both_ends():
    text = reason(ImageError("unknown encoding", got="x" * 1_000_000, expected="rgb8"))
    assert len(text) <= MAX_LENGTH
    assert text.startswith("unknown encoding: got xxx")
    assert text.endswith("expected rgb8")
    assert "characters" in text


def raised(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


def test_an_unexpected_error_is_explained_with_its_traceback_and_one_of_our_own_without():
    assert explained(raised(ImageError("empty image"))) == "empty image"
    assert "test_throttled_log.py" in explained(raised(ValueError("odd")))
