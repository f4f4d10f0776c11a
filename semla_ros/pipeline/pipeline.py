"""One frame's journey: the only loop of the project. Node, replay, demo and evaluation all drive this class."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture, support
from semla_ros.adaptation.thresholds import Thresholds
from semla_ros.adaptation.tracker import SECOND_NS, DomainTracker
from semla_ros.config import Config
from semla_ros.errors import AdapterError, ConfigError, ImageError, SemlaError
from semla_ros.images.classes import UNLABELLED, ClassInfo
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.modeling.base import Segmenter, linear_layers, segmenter_kind
from semla_ros.modeling.lora import LoraFuser
from semla_ros.pipeline.embedding import Embedder, EmbeddingResult
from semla_ros.pipeline.result import DomainState, Labels, SegmentationResult


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
        self._active = np.empty((0, self.navigator.embed_dim))  # centroids of the mixture; a reload may drop adapters
        self.reload_library()

    def process(self, frame: Frame) -> SegmentationResult:
        """Segments a frame, adapting first where the domain has changed.

        What goes wrong in adapting (an embedding that is not finite, an adapter file gone bad) is told in
        ``domain.error``; the last good mixture segments the frame all the same.

        Raises:
            ImageError: The image is not (H, W, 3) uint8 or is empty.
        """
        _check(frame)
        latency: dict[str, float] = {}
        self.domain = replace(self.domain, swapped=False)
        if self._navigator_is_due(frame.stamp_ns):
            self._look(frame)
        try:
            for result in self.embedder.results(wait=self._tracker.anchor is None):
                self._adapt(result, latency)
        except SemlaError as error:
            self.domain = replace(self.domain, error=str(error))
            self._embedded_ns = None  # the next frame is looked at
        with _timed(latency, "segment"):
            labels, confidence = self.segmenter.segment(frame.rgb, self.config.segmenter.mode)
        return SegmentationResult(frame, self._published(labels, confidence), confidence, self.domain, latency)

    def check(self, config: Config) -> None:
        """Checks settings without changing anything.

        Raises:
            ConfigError: The thresholds cross, or a class is named twice.
        """
        self._thresholds(config, self.library)
        self.bundle.class_table(config.segmenter.classes)

    def configure(self, config: Config) -> None:
        """Takes new settings, in force from the next frame.

        Raises:
            ConfigError: They contradict each other; the old ones stay.
        """
        thresholds = self._thresholds(config, self.library)
        asked, before = config.segmenter, self.config.segmenter
        if (asked.classes, asked.prompt_templates) != (before.classes, before.prompt_templates):
            self.classes = self.bundle.class_table(asked.classes)
            self.segmenter.set_classes([c.name for c in self.classes], asked.prompt_templates)
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
            self.domain, swaps=0, skipped=0, distance=math.nan, support=math.nan, out_of_distribution=False, error=""
        )

    def reload_library(self) -> None:
        """Reads the adapters from disk again and starts over with them.

        Raises:
            AdapterError: None of them fits, or the folder was emptied; the old library stays.
            ConfigError: The thresholds set contradict the new ones; the old library stays.
        """
        library = AdapterLibrary(
            self.bundle.path / ADAPTERS,
            linear_layers(self.segmenter.network),
            self.navigator.embed_dim,
            self.config.library.memory_mib,
            self.config.library.exclude,
            self.segmenter.device,
            self.segmenter.dtype,
            segmenter_kind(self.bundle.segmenter.kind).module_name,
        )
        if not library.names and getattr(self, "library", library).names:
            raise AdapterError(
                "empty adapter library",
                where=self.bundle.path / ADAPTERS,
                hint="The adapters that were read before stay in use.",
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

    def _adapt(self, result: EmbeddingResult, latency: dict[str, float]) -> None:
        """Tracks and, where the domain has changed, retrieves and fuses."""
        latency["embed"] = result.seconds
        due = self._tracker.update(result.embedding, result.stamp_ns)
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
        if mixture.change(self.domain.mixture) < self.config.tracker.min_weight_change and not first:
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
            out_of_distribution=not self.library.is_in_distribution(ema),
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
        derived = Thresholds.of(library.centroids, [s.mean_distance for s in library.statistics])
        upper_threshold = (
            config.tracker.upper_threshold or self.bundle.defaults.upper_threshold or derived.upper_threshold
        )
        lower_threshold = config.tracker.lower_threshold or min(
            self.bundle.defaults.lower_threshold or derived.lower_threshold, upper_threshold
        )
        if lower_threshold > upper_threshold:
            raise ConfigError(
                "thresholds cross",
                where="tracker.lower_threshold",
                got=lower_threshold,
                expected=f"at most tracker.upper_threshold, {upper_threshold}",
            )
        return Thresholds(upper_threshold, lower_threshold)

    def _enforce(self, thresholds: Thresholds) -> None:
        self._tracker.config, self._tracker.upper_threshold, self._tracker.lower_threshold = (
            self.config.tracker,
            *thresholds,
        )
        self.domain = replace(
            self.domain, upper_threshold=thresholds.upper_threshold, lower_threshold=thresholds.lower_threshold
        )

    def _published(self, labels: NDArray[np.int64], confidence: NDArray[np.float32]) -> Labels:
        out: Labels = labels.astype(np.uint8) if len(self.classes) <= UNLABELLED else labels.astype(np.uint16)
        out[confidence < self.config.segmenter.min_confidence] = np.iinfo(out.dtype).max
        return out


def _check(frame: Frame) -> None:
    rgb = frame.rgb
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError("not a image", got=f"{rgb.dtype} {rgb.shape}", expected="uint8 (H, W, 3), H and W at least 1")


@contextmanager
def _timed(latency: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    latency[stage] = time.perf_counter() - start
