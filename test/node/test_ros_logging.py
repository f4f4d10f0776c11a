import logging

import pytest

from semla_ros.node.ros_logging import RosLogHandler


class RosLogger:
    """Keeps (severity, text) of what is logged."""

    def __init__(self):
        self.lines = []

    def __getattr__(self, severity):
        return lambda text: self.lines.append((severity, text))


@pytest.fixture
def ros():
    return RosLogger()


def test_python_log_records_reach_the_ros_logger_with_their_severity(ros):
    log = logging.Logger("semla_ros.test", logging.DEBUG)
    log.addHandler(RosLogHandler(ros))
    log.debug("details")
    log.info("loaded")
    log.warning("no %s device", "CUDA")
    log.error("lost")
    assert ros.lines == [("debug", "details"), ("info", "loaded"), ("warning", "no CUDA device"), ("error", "lost")]
