from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from live.robot import image

from semla_ros.config import NodeConfig, changed
from semla_ros.errors import BundleError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.node.signals import Stopped
from semla_ros.node.statistics import Statistics
from semla_ros.node.stream import Stream, _age_s
from semla_ros.pipeline.domain_state import DomainState

NOBODY: Any = None
LIMIT_S = 60.0


def stream(build: Any) -> Stream:
    return Stream(NOBODY, build, NOBODY, {}, NOBODY, NOBODY, NodeConfig())


def workers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("semla_worker")]


def test_the_pipeline_is_built_in_the_thread_that_will_run_it() -> None:
    built = []

    def build() -> Pipeline:
        built.append(threading.current_thread().name)
        return Pipeline()

    made = stream(build)
    assert built == workers()
    made.close()
    assert workers() == []


def test_a_pipeline_that_cannot_be_built_leaves_no_thread_behind() -> None:
    def build() -> None:
        raise BundleError("no bundle")

    with pytest.raises(BundleError, match="no bundle"):
        stream(build)
    assert workers() == []


def test_loading_is_given_up_when_the_process_is_told_to_end() -> None:
    loading, loaded = threading.Event(), threading.Event()

    def build() -> None:
        loading.set()
        loaded.wait()

    try:
        with pytest.raises(Stopped):
            Stream(NOBODY, build, NOBODY, {}, NOBODY, NOBODY, NodeConfig(), loading.is_set)  # type: ignore[arg-type]
    finally:
        loaded.set()
    end = time.monotonic() + LIMIT_S
    while workers():  # other tests count them
        assert time.monotonic() < end, f"a worker goes on after {LIMIT_S:.0f} s"
        time.sleep(0.01)


class Pipeline:
    """A pipeline whose reset fails."""

    def domain_of(self, camera: str) -> DomainState:
        return DomainState()

    def reset(self) -> None:
        raise RuntimeError("unexpected")

    def close(self) -> None: ...


class Publishers:
    """Publishes nothing."""

    def send_domain(self, *_: object) -> None: ...


def test_a_service_that_fails_between_two_frames_raises_an_alarm() -> None:
    statistics, log = Statistics(), Log()
    made = Stream(NOBODY, Pipeline, NOBODY, {"": Publishers()}, statistics, log, NodeConfig())  # type: ignore[arg-type]
    made.reset()
    made.drain()
    made.close()
    assert statistics.alarming
    assert statistics.last_error == "RuntimeError: unexpected"
    assert "RuntimeError: unexpected" in log.lines[0]


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, text: str) -> None:
        self.lines.append(text)


NOW = 1_800_000_000 * 10**9


@pytest.mark.parametrize(
    ("stamp", "now", "age_s"),
    [
        (NOW - 10**8, NOW, 0.1),
        (NOW + 10**8, NOW, -0.1),  # the clock of the camera's computer is ahead
        (0, NOW, None),
        (NOW, 0, None),
        (20 * 10**9, NOW, None),
        (NOW - 86_400 * 10**9, NOW, None),
    ],
    ids=["old", "ahead", "no stamp", "no time yet", "time since the start", "a recording of yesterday"],
)
def test_the_age_of_an_image_is_known_if_its_stamp_is_of_this_clock(stamp: int, now: int, age_s: float | None) -> None:
    assert _age_s(stamp, now) == (None if age_s is None else pytest.approx(age_s))


class Batches(Pipeline):
    """A pipeline that fails if it gets two frames at once."""

    takes_batches, classes = True, ()

    def __init__(self) -> None:
        self.passes: list[int] = []

    def process_together(self, frames: Any) -> Any:
        self.passes.append(len(frames))
        raise RuntimeError("two at once")

    def process(self, frame: Any, track: bool, camera: str) -> Any:
        self.passes.append(1)
        return SimpleNamespace(latency_s={}, domain=DomainState())


class CameraOf(SimpleNamespace):
    """A camera that publishes into a list."""

    def __init__(self, name: str) -> None:
        self.sent: list[Any] = []
        outputs = SimpleNamespace(send=lambda *all_: self.sent.append(all_))
        super().__init__(name=name, outputs=outputs, bit_depth=BitDepth(), depth=SimpleNamespace(search=lambda _: None))


def test_images_that_fail_in_one_pass_are_tried_alone_and_the_failure_is_reported() -> None:
    statistics, log, pipeline = Statistics(), Log(), Batches()
    node: Any = SimpleNamespace(get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=NOW)))
    config = changed(NodeConfig(), {"camera_batch": 2})
    made = Stream(node, lambda: pipeline, NOBODY, {"": Publishers()}, statistics, log, config)  # type: ignore[arg-type, return-value]
    cameras = [CameraOf("front"), CameraOf("rear")]
    hold = threading.Event()
    made._worker.submit(hold.wait)
    for camera in cameras:
        made.receive(camera, "/image", image(5))  # type: ignore[arg-type]
    hold.set()
    made._worker.submit(lambda: None).result(LIMIT_S)
    made.close()
    assert pipeline.passes == [2, 1, 1]
    assert [len(each.sent) for each in cameras] == [1, 1]
    counts = statistics.key_values()
    assert (counts["frames_segmented"], counts["frames_failed"]) == ("2", "0")
    assert statistics.alarming
    assert "2 images in one pass failed, and are tried alone" in log.lines[0]
    assert "RuntimeError: two at once" in log.lines[0]


def test_images_that_wait_when_the_stream_ends_count_as_dropped_by_their_cameras() -> None:
    statistics = Statistics()
    node: Any = SimpleNamespace(get_clock=lambda: SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=NOW)))
    made = Stream(node, Batches, NOBODY, {}, statistics, NOBODY, NodeConfig())  # type: ignore[arg-type]
    hold, submit = threading.Event(), made._worker.submit
    submit(hold.wait)
    for name in ("front", "rear"):
        made.receive(CameraOf(name), "/image", image(5))  # type: ignore[arg-type]
    made._worker.submit = lambda task: (hold.set(), submit(task))[1]  # type: ignore[method-assign]
    made.close()
    counts = statistics.key_values()
    assert [counts[f"{camera}frames_dropped"] for camera in ("", "front/", "rear/")] == ["2", "1", "1"]


def test_a_pipeline_that_cannot_take_batches_gets_one_image_at_a_time() -> None:
    pipeline = Batches()
    pipeline.takes_batches = False
    config = changed(NodeConfig(), {"camera_batch": 2})
    made = Stream(NOBODY, lambda: pipeline, NOBODY, {}, NOBODY, NOBODY, config)  # type: ignore[arg-type, return-value]
    assert made._batch() == 1
    pipeline.takes_batches = True
    assert made._batch() == 2
    made.close()
