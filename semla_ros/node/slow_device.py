"""Notices that images arrive faster than they are segmented, and says which stage takes the time and what to set."""

from __future__ import annotations

import time
from collections.abc import Callable

from semla_ros.config import NodeConfig
from semla_ros.node.statistics import Statistics

STAGES = "decode", "segment", "publish"  # those of every frame, one after the other; others are rare or run beside them
SHARE = 0.2  # of the images: if more are dropped, the device is too slow
PATIENCE_S = 10.0  # short bursts, and the first frames after the start, are no reason for advice


class SlowDevice:
    """Compares the rates of images received and dropped.

    Args:
        statistics: Counts the frames.
        clock: Returns monotonic time in seconds.
    """

    def __init__(self, statistics: Statistics, clock: Callable[[], float] = time.monotonic) -> None:
        self._statistics, self._clock = statistics, clock
        self._since_s: float | None = None

    def explain(self, config: NodeConfig) -> str:
        """Returns what takes the time and what to set; empty unless many images were dropped for ten seconds.

        Call it about once per second.

        Args:
            config: Settings in force. Advice that is followed already is not given.
        """
        received, dropped = self._statistics.rate("received"), self._statistics.rate("dropped")
        if dropped <= SHARE * received:
            self._since_s = None
            return ""
        self._since_s = self._clock() if self._since_s is None else self._since_s
        if self._clock() - self._since_s < PATIENCE_S:
            return ""
        return self._explained(config, received)

    def _explained(self, config: NodeConfig, received: float) -> str:
        medians = self._statistics.medians_s()
        seconds = {stage: medians.get(stage, 0.0) for stage in STAGES}
        slowest, total = max(seconds, key=seconds.__getitem__), sum(seconds.values())
        return (
            f"images arrive faster than they are processed: {received:.1f} per second arrive,"
            f" {self._statistics.fps:.1f} are segmented. The stage '{slowest}' takes {1000 * seconds[slowest]:.0f} of"
            f" {1000 * total:.0f} ms per image. What makes it faster: {advice(slowest, config)}"
        )


def advice(stage: str, config: NodeConfig) -> str:
    """Returns the settings that make a stage faster and are not in force yet.

    Args:
        stage: decode, segment or publish.
        config: Settings in force.
    """
    options = {
        "decode": [
            ("image_transport: raw", config.image_transport == "compressed"),
            ("a camera that publishes rgb8, or smaller images", True),
        ],
        "segment": [
            (
                f"camera_batch: {len(config.cameras)}",
                config.camera_batch < len(config.cameras) and not config.domain_per_camera,
            ),
            ("segmenter.mode: plain", config.segmenter.mode == "sliding"),
            ("model.precision: bfloat16 (float16 on a GPU)", config.model.precision == "float32"),
            ("model.compile: true", not config.model.compile),
            ("model.threads: 0", config.model.threads > 0),
            ("fewer classes", len(config.segmenter.classes) > 1),
            ("a smaller bundle or a faster device", True),
        ],
        "publish": [
            ("output_width or output_height", not (config.output_width or config.output_height)),
            ("confidence_encoding: mono8", config.confidence_encoding != "mono8"),
            ("no subscribers of segmentation/color and segmentation/overlay", True),
        ],
    }
    return "; ".join(option for option, applies in options[stage] if applies)
