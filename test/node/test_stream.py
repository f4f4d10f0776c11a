from __future__ import annotations

import threading
from typing import Any

import pytest

pytest.importorskip("rclpy")

from semla_ros.errors import BundleError
from semla_ros.node.settings import NodeConfig
from semla_ros.node.stream import Stream

NOBODY: Any = None


def stream(build: Any) -> Stream:
    return Stream(NOBODY, build, NOBODY, NOBODY, NOBODY, NodeConfig())


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("semla_worker")]


def test_the_pipeline_is_built_in_the_thread_that_will_run_it() -> None:
    built = []
    made = stream(lambda: built.append(threading.current_thread().name))
    assert built == workers()
    made.close()
    assert workers() == []


def test_a_pipeline_that_cannot_be_built_leaves_no_thread_behind() -> None:
    def build() -> None:
        raise BundleError("no bundle")

    with pytest.raises(BundleError, match="no bundle"):
        stream(build)
    assert workers() == []
