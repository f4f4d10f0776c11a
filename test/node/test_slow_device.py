from __future__ import annotations

import pytest

from semla_ros.config import NodeConfig, changed
from semla_ros.node.slow_device import PATIENCE_S, SlowDevice, advice
from semla_ros.node.statistics import Statistics

CONFIG = NodeConfig()


class Device:
    """A node whose frames arrive and are processed by a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.statistics = Statistics(lambda: self.now_s)
        self.watch = SlowDevice(self.statistics, lambda: self.now_s)

    def run(self, seconds: float, received: int, segmented: int, **latency_s: float) -> list[str]:
        """Runs at these rates, frames per second; returns what is told once per second."""
        told = []
        for _ in range(round(seconds)):
            self.now_s += 1.0
            for _ in range(received):
                self.statistics.receive()
            for _ in range(segmented):
                self.statistics.finish(latency_s, None)
            for _ in range(received - segmented):
                self.statistics.drop()
            told.append(self.watch.explain(CONFIG))
        return told


def test_a_device_that_keeps_up_is_told_nothing() -> None:
    assert set(Device().run(60, 30, 28, segment=0.03)) == {""}


def test_a_short_burst_is_told_nothing() -> None:
    device = Device()
    told = device.run(PATIENCE_S / 2, 30, 10, segment=0.1) + device.run(60, 10, 10, segment=0.1)
    assert set(told) == {""}


def test_images_that_keep_arriving_faster_are_told_with_both_rates_and_the_slowest_stage() -> None:
    told = Device().run(60, 30, 8, decode=0.002, segment=0.118, publish=0.005, total=0.25, embed=0.4)
    assert told[5] == ""
    assert told[-1].startswith(
        "images arrive faster than they are processed: 30.0 per second arrive, 8.0 are segmented."
        " The stage 'segment' takes 118 of 125 ms per image. What makes it faster: "
    )


def test_it_ends_when_the_camera_slows_down() -> None:
    device = Device()
    assert device.run(30, 30, 8, segment=0.1)[-1]
    assert device.run(30, 8, 8, segment=0.1)[-1] == ""


@pytest.mark.parametrize(
    ("stage", "settings", "named", "unnamed"),
    [
        ("segment", {"segmenter.mode": "sliding"}, ("segmenter.mode: plain", "model.precision"), ("model.threads",)),
        ("segment", {"model.precision": "float16", "model.compile": True}, ("faster device",), ("model.", "mode: ")),
        ("segment", {"model.threads": 1}, ("model.threads: 0",), ("camera_batch",)),
        ("segment", {"cameras": ["front", "rear"]}, ("camera_batch: 2",), ()),
        ("segment", {"cameras": ["front", "rear"], "camera_batch": 2}, (), ("camera_batch",)),
        ("segment", {"cameras": ["front", "rear"], "domain_per_camera": True}, (), ("camera_batch",)),
        ("decode", {"image_transport": "compressed"}, ("image_transport: raw",), ()),
        ("decode", {}, ("rgb8",), ("image_transport",)),
        ("publish", {"confidence_encoding": "32FC1"}, ("output_width", "confidence_encoding: mono8"), ()),
        ("publish", {"output_width": 100}, ("segmentation/overlay",), ("output_width", "confidence_encoding")),
    ],
)
def test_advice_names_settings_that_are_not_in_force_yet(
    stage: str, settings: dict[str, object], named: tuple[str, ...], unnamed: tuple[str, ...]
) -> None:
    text = advice(stage, changed(CONFIG, settings))
    assert all(each in text for each in named), text
    assert not any(each in text for each in unnamed), text
