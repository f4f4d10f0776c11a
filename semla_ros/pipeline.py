"""One frame's journey: the only loop of the project. Node, replay, demo and evaluation all drive this class."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semla_ros.bundle import ADAPTERS, Bundle
from semla_ros.classes import UNLABELLED, ClassInfo
from semla_ros.config import Config
from semla_ros.domain.retrieval import Mixture, support
from semla_ros.domain.thresholds import Thresholds
from semla_ros.domain.tracker import SECOND_NS, DomainTracker
from semla_ros.embedder import Embedder, Sighting
from semla_ros.errors import ConfigError, ImageError, SemlaError
from semla_ros.frame import Frame
from semla_ros.library import AdapterLibrary
from semla_ros.modeling.lora import LoraFuser
from semla_ros.modeling.segmenter import Segmenter
from semla_ros.perception import DomainState, Labels, Perception


class SemlaPipeline:
    """Segments frames and adapts the segmenter as the domain changes.

    Args:
        bundle: Where the adapters lie, and the meaning of settings of 0.
        segmenter: The network that is adapted.
        embedder: Embeds frames, in step or beside.
        config: All settings.
    """

    def __init__(self, bundle: Bundle, segmenter: Segmenter, embedder: Embedder, config: Config) -> None:
        self.bundle, self.segmenter, self.embedder = bundle, segmenter, embedder
        self.navigator = embedder.navigator
        self.fuser = LoraFuser(segmenter.adapted_layers())
        self.config = config
        self.domain = DomainState()
        self.classes: tuple[ClassInfo, ...] = bundle.class_table(config.segmenter.classes)
        self._tracker = DomainTracker(config.tracker, math.inf, math.inf)
        self._embedded_ns: int | None = None
        self._active = np.empty(
            (0, self.navigator.arch.embed_dim)
        )  # centroids of the mixture; a reload may drop adapters
        self.reload_library()

    def process(self, frame: Frame) -> Perception:
        """Segments a frame, adapting first where the domain has changed.

        What goes wrong in adapting (an embedding that is not finite, an adapter file gone bad) is told in
        ``domain.error``; the last good mixture segments the frame all the same.

        Raises:
            ImageError: The picture is not (H, W, 3) uint8 or is empty.
        """
        _check(frame)
        latency: dict[str, float] = {}
        self.domain = replace(self.domain, swapped=False)
        if self._navigator_is_due(frame.stamp_ns):
            self._look(frame)
        try:
            for sighting in self.embedder.sightings(wait=self._tracker.anchor is None):
                self._adapt(sighting, latency)
        except SemlaError as error:
            self.domain = replace(self.domain, error=str(error))
            self._embedded_ns = None  # the next frame is looked at
        with _timed(latency, "segment"):
            labels, confidence = self.segmenter.segment(frame.rgb, self.config.segmenter.mode)
        return Perception(frame, self._published(labels, confidence), confidence, self.domain, latency)

    def configure(self, config: Config) -> None:
        """Takes new settings, in force from the next frame.

        Raises:
            ConfigError: They contradict each other; the old ones stay.
        """
        thresholds = self._thresholds(config, self.library)
        asked, before = config.segmenter, self.config.segmenter
        if (asked.classes, asked.wording) != (before.classes, before.wording):
            self.classes = self.bundle.class_table(asked.classes)
            self.segmenter.set_classes([c.name for c in self.classes], asked.wording)
        new, old = config.fusion, self.config.fusion
        if old.adapt and not new.adapt:
            self._fuse(Mixture(), {})
            self.reset()
        if (new.k, new.temperature) != (old.k, old.temperature):
            self._tracker.anchor = None  # the next embedding retrieves anew
        self.config = config
        self._enforce(thresholds)

    def freeze(self, frozen: bool) -> None:
        """Holds the present mixture, or lets it go."""
        self.domain = replace(self.domain, frozen=frozen)

    def reset(self) -> None:
        """Forgets the domain: the next frame is embedded and brings the first mixture anew. A freeze stays."""
        self._tracker.reset()
        self.embedder.clear()
        self._embedded_ns = None
        self.domain = replace(
            self.domain, swaps=0, skipped=0, distance=math.nan, support=math.nan, out_of_library=False, error=""
        )

    def reload_library(self) -> None:
        """Reads the adapters from disk again and starts over with them.

        Raises:
            AdapterError: None of them fits; the old library stays.
            ConfigError: The thresholds set contradict the new ones; the old library stays.
        """
        library = AdapterLibrary(
            self.bundle.path / ADAPTERS,
            self.segmenter.network.linear_layers(),
            self.navigator.arch.embed_dim,
            self.config.library.memory_mib,
            self.config.library.exclude,
            self.segmenter.device,
            self.segmenter.dtype,
        )
        self._enforce(self._thresholds(self.config, library))
        self.library = library
        self.reset()
        self.domain = replace(self.domain, error="; ".join(str(error) for error in self.library.rejected))

    def _navigator_is_due(self, stamp_ns: int) -> bool:
        """By message stamps. A stamp that jumps back is due at once: the tracker then starts over."""
        if not self.config.fusion.adapt:
            return False
        last, period_ns = self._embedded_ns, self.config.navigator.period_s * SECOND_NS
        return last is None or stamp_ns < last or stamp_ns - last >= period_ns

    def _look(self, frame: Frame) -> None:
        """Hands the frame to the navigator."""
        if self._embedded_ns is not None and frame.stamp_ns < self._embedded_ns:
            self.reset()
        self._embedded_ns = frame.stamp_ns
        self.embedder.submit(frame)

    def _adapt(self, sighting: Sighting, latency: dict[str, float]) -> None:
        """Tracks and, where the domain has changed, retrieves and fuses."""
        latency["embed"] = sighting.seconds
        due = self._tracker.update(sighting.embedding, sighting.stamp_ns)
        if self.domain.frozen:
            pass
        elif due:
            self._swap(latency)
        elif self._tracker.drifting:
            self.library.prefetch(self._retrieved().names)
        self._observe()

    def _swap(self, latency: dict[str, float]) -> None:
        """Retrieves for the moving average; fuses unless the weights would hardly change."""
        with _timed(latency, "retrieve"):
            mixture = self._retrieved()
        first = self._tracker.anchor is None
        if mixture.change(self.domain.mixture) < self.config.tracker.epsilon and not first:
            self._tracker.skipped()
            self.domain = replace(self.domain, skipped=self.domain.skipped + 1)
        else:
            self._fuse(mixture, latency)
            self._tracker.swapped()
            self.domain = replace(self.domain, swaps=self.domain.swaps + 1, swapped=True)

    def _retrieved(self) -> Mixture:
        ema = self._tracker.ema
        assert ema is not None
        return self.library.retrieve(ema, self.k, self.temperature)

    def _fuse(self, mixture: Mixture, latency: dict[str, float]) -> None:
        """Loads before it touches a weight: what cannot be read leaves the last good mixture whole."""
        adapters = [self.library.load(name) for name in mixture.names]
        with _timed(latency, "fuse"):
            self.fuser.apply(adapters, mixture.weights)
        with _timed(latency, "text"):
            self.segmenter.refresh_text()
        self._active = self.library.centroids_of(mixture.names)
        self.domain = replace(self.domain, mixture=mixture)

    def _observe(self) -> None:
        ema = self._tracker.ema
        assert ema is not None
        self.domain = replace(
            self.domain,
            distance=self._tracker.distance,
            support=support(np.array(self.domain.mixture.weights), np.linalg.norm(self._active - ema, axis=1)),
            out_of_library=not self.library.knows(ema),
            error="",
        )

    @property
    def k(self) -> int:
        """Adapters in a mixture, in force now."""
        return self.config.fusion.k or self.bundle.defaults.k

    @property
    def temperature(self) -> float:
        """Softmax temperature in force now."""
        return self.config.fusion.temperature or self.bundle.defaults.temperature

    def _thresholds(self, config: Config, library: AdapterLibrary) -> Thresholds:
        derived = Thresholds.of(library.centroids, [s.spread for s in library.statistics])
        enter = config.tracker.enter or self.bundle.defaults.enter or derived.enter
        rearm = config.tracker.rearm or min(self.bundle.defaults.rearm or derived.rearm, enter)
        if rearm > enter:
            raise ConfigError(
                "thresholds cross", where="tracker.rearm", got=rearm, expected=f"at most tracker.enter, {enter}"
            )
        return Thresholds(enter, rearm)

    def _enforce(self, thresholds: Thresholds) -> None:
        self._tracker.config, self._tracker.enter, self._tracker.rearm = self.config.tracker, *thresholds
        self.domain = replace(self.domain, enter=thresholds.enter, rearm=thresholds.rearm)

    def _published(self, labels: NDArray[np.int64], confidence: NDArray[np.float32]) -> Labels:
        out: Labels = labels.astype(np.uint8) if len(self.classes) <= UNLABELLED else labels.astype(np.uint16)
        out[confidence < self.config.segmenter.min_confidence] = np.iinfo(out.dtype).max
        return out


def _check(frame: Frame) -> None:
    rgb = frame.rgb
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError(
            "not a picture", got=f"{rgb.dtype} {rgb.shape}", expected="uint8 (H, W, 3), H and W at least 1"
        )


@contextmanager
def _timed(latency: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    latency[stage] = time.perf_counter() - start
