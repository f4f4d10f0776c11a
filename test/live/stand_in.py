"""A pipeline without networks. The first pixel of an image tells it how long to take and what to do."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from live.gate import VARIABLE, Gate

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config
from semla_ros.errors import AdapterError, BundleError, ConfigError, ImageError
from semla_ros.images.classes import ClassInfo, class_table
from semla_ros.images.frame import Frame
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.result import SegmentationResult

# Commands in the second channel of the first pixel.
FINE, REFUSED, BROKEN, NIGHT, ADAPTATION_FAILS, WAIT, SAVE_MEMORY = range(7)
MEMORY = "memory ran out: images are computed in the smallest batches"
UNREADABLE = "adapter is truncated (adapters/night): got 12 bytes, expected 3 MB"
DAY_MIXTURE = Mixture(("day",), (1.0,), (5.0,), 0.2)
LOG = logging.getLogger("semla_ros.stand_in")
SEVERITIES = logging.DEBUG, logging.INFO, logging.WARNING
NIGHT_MIXTURE = Mixture(("night", "rain"), (0.75, 0.25), (4.0, 6.0), 0.23)
DAY = DomainState(DAY_MIXTURE, upper_threshold=8.0, lower_threshold=6.0)


@dataclass(frozen=True)
class Library:
    """Stands in for `AdapterLibrary`."""

    names: tuple[str, ...]
    rejected: list[AdapterError]


class StandIn:
    """Stands in for `SemlaPipeline`. The distance in its domain state is the stamp of the newest frame in seconds."""

    def __init__(self, config: Config) -> None:
        self.memory = np.ones(50_000_000)  # 400 MB, so that freeing the models shows
        self.config = config
        self.domain, self.domains = DAY, {"": DAY}
        self.gaps = None
        self.warnings: tuple[str, ...] = ()
        self.gate = Gate(Path(os.environ.get(VARIABLE, "/nonexistent")))

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        return class_table(self.config.segmenter.classes or ("road", "car", "sky"))

    takes_batches = True

    def domain_of(self, camera: str) -> DomainState:
        return self.domains.setdefault(camera, replace(DAY, frozen=self.domain.frozen))

    def process_together(self, frames: list[tuple[Frame, bool]]) -> list[SegmentationResult]:
        LOG.warning("%d images in one pass", len(frames))
        return [self.process(*each) for each in frames]

    def process(self, frame: Frame, track: bool = True, camera: str = "") -> SegmentationResult:
        self.domain = self.domain_of(camera)
        try:
            return self._segmented(frame, track)
        finally:
            self.domains[camera] = self.domain

    def _segmented(self, frame: Frame, track: bool) -> SegmentationResult:
        delay, command, _ = frame.rgb[0, 0]
        time.sleep(0.01 * delay)
        if command == WAIT:
            self.gate.wait()
        if command == REFUSED:
            raise ImageError("not an image", got="uint8 (48, 64)", expected="uint8 (H, W, 3)")
        if command == SAVE_MEMORY:
            self.warnings = (MEMORY,)
        if command == BROKEN:
            raise RuntimeError("unexpected")
        if track:
            self._adapt(NIGHT_MIXTURE if command == NIGHT else DAY_MIXTURE, frame.stamp_ns)
        self.domain = replace(self.domain, error=UNREADABLE if command == ADAPTATION_FAILS else "")
        height, width = frame.rgb.shape[:2]
        labels = np.tile(np.arange(width, dtype=np.uint8) % len(self.classes), (height, 1))
        confidence = np.full((height, width), 0.6, np.float32)
        return SegmentationResult(frame, labels, confidence, self.domain, {"segment": 0.01 * int(delay)})

    def _adapt(self, mixture: Mixture, stamp_ns: int) -> None:
        swapped = mixture != self.domain.mixture and not self.domain.frozen
        self.domain = replace(
            self.domain,
            mixture=mixture if swapped else self.domain.mixture,
            distance=1e-9 * stamp_ns,
            support=mixture.support,
            swaps=self.domain.swaps + swapped,
            swapped=swapped,
        )

    def check(self, config: Config) -> None:
        if "nothing" in config.segmenter.classes:
            raise ConfigError("no such class", where="segmenter.classes", got="nothing", expected="something")

    def configure(self, config: Config) -> None:
        if "crash" in config.segmenter.classes:
            raise RuntimeError("unexpected")
        self.config = config

    def freeze(self, frozen: bool) -> None:
        self._each(lambda domain: replace(domain, frozen=frozen))

    def reset(self) -> None:
        self.warnings = ()
        self._each(lambda domain: replace(DAY, frozen=domain.frozen))

    def close(self) -> None:
        pass

    def read_library(self, pause: Callable[[], None]) -> Library:
        if "unreadable" in self.config.segmenter.classes:
            raise AdapterError("adapter is truncated", where="adapters/night", got="12 bytes", expected="3 MB")
        if "large library" in self.config.segmenter.classes:
            self.gate.wait(pause)
        return Library(("day", "night"), [AdapterError("adapter is truncated", where="adapters/rain")])

    def use_library(self, library: Library) -> None:
        self._each(lambda domain: replace(DAY, mixture=domain.mixture, frozen=domain.frozen))

    def _each(self, change: Callable[[DomainState], DomainState]) -> None:
        self.domain = change(self.domain)
        self.domains = {camera: change(domain) for camera, domain in self.domains.items()}


def build(config: Config) -> StandIn:
    if config.model.bundle == "missing":
        raise BundleError("no such model bundle", where=config.model.bundle)
    if config.model.bundle == "slow":
        time.sleep(10_000)
    if config.model.bundle == "damaged":
        raise AdapterError("adapter is truncated", where="adapters/night", got="12 bytes", expected="3 MB")
    if config.model.bundle == "logged":
        for level in SEVERITIES:
            LOG.log(level, "a message of severity %s", logging.getLevelName(level))
        raise BundleError("no such model bundle", where=config.model.bundle)
    if config.model.bundle == "broken":
        raise RuntimeError("unexpected")
    return StandIn(config)
