"""From a frame to its segmentation. Node, replay, demo, evaluation and benchmark all use this class."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture, support
from semla_ros.adaptation.tracker import Decision, DomainTracker
from semla_ros.config import Config
from semla_ros.errors import AdapterError, FusionError, ImageError, SegmentationError, SemlaError
from semla_ros.images.classes import ClassInfo, Labels, unlabelled
from semla_ros.images.frame import Frame
from semla_ros.images.panoptic import Segments
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.modeling.base import Mode, Segmenter, linear_layers, segmenter_kind
from semla_ros.modeling.threads import ThreadChooser
from semla_ros.pipeline.adapted_segmenter import AdaptedSegmenter
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.effective import EffectiveSettings
from semla_ros.pipeline.embedding import Embedder
from semla_ros.pipeline.gap_recorder import GapRecorder
from semla_ros.pipeline.memory import first_line, ran_out_of_memory
from semla_ros.pipeline.result import SegmentationResult
from semla_ros.pipeline.schedule import NavigatorSchedule
from semla_ros.pipeline.stage_times import StageTimes

LOG = logging.getLogger(__name__)


class SemlaPipeline:
    """Segments frames and adapts the segmenter when the domain changes.

    What is kept between two frames, all of it reset by `reset` except where noted:

    - ``domain``: what is reported. The mixture and ``frozen`` survive a reset.
    - ``_tracker``: moving average of the embeddings, and the average that the mixture was retrieved for.
    - ``_schedule``: stamps of the newest frame and of the newest embedded one.
    - ``_rejection``: why the mixture that was retrieved last is not the active one.
    - ``_unread``: adapters that were left out of the active mixture because their files could not be read.
    - ``adapted``: the fused weights, which survive a reset, which mixtures have segmented well or badly, and whether
      memory is saved.

    Args:
        bundle: Model bundle, for its adapters, classes and default settings.
        segmenter: Segmenter that is adapted.
        embedder: Embeds frames, synchronously or asynchronously.
        config: All settings.

    Attributes:
        config: Settings in force.
        domain: State of the adaptation.
        library: Adapters that mixtures are retrieved from.
        threads: Chooses the number of CPU threads by the time that frames take; None leaves it as it is.
        gaps: Records the images that no adapter fits; None records nothing.

    Raises:
        AdapterError: The bundle has no adapter library, or none of its adapters fits the segmenter.
        ConfigError: The thresholds cross.
    """

    def __init__(self, bundle: Bundle, segmenter: Segmenter, embedder: Embedder, config: Config) -> None:
        self.bundle, self.segmenter, self.embedder, self.config = bundle, segmenter, embedder, config
        self.navigator = embedder.navigator
        self.adapted = AdaptedSegmenter(segmenter, bundle.class_table(config.segmenter.classes))
        self.threads: ThreadChooser | None = None
        self.gaps: GapRecorder | None = None
        self.domain = DomainState()
        self._schedule = NavigatorSchedule(embedder)
        self._tracker = DomainTracker(config.tracker, math.inf, math.inf)
        self._times = StageTimes()
        self._rejection = ""
        self._unread: tuple[str, ...] = ()
        self.use_library(self._open_library())
        self._active = self.library.index_of(())

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes that are segmented, in the order of their ids."""
        return self.adapted.classes

    @property
    def k(self) -> int:
        """Number of adapters in a mixture."""
        return self._effective.k

    @property
    def temperature(self) -> float:
        """Temperature of the softmax over inverse distances."""
        return self._effective.temperature

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the pipeline at present although frames are segmented, one sentence each."""
        found = [f"memory ran out: {self.adapted.memory.measure}"] if self.adapted.memory.measure else []
        folder = self.bundle.path / ADAPTERS
        if not folder.is_dir():
            found.append(f"the adapter library {folder} is gone: only adapters in memory are used")
        return tuple(found)

    def process(self, frame: Frame, track: bool = True) -> SegmentationResult:
        """Segments a frame, after adapting the segmenter if the domain has changed.

        Args:
            frame: The frame.
            track: Whether the frame counts for the domain; several cameras may share a pipeline.

        Errors of the adaptation (an embedding that is not finite, a damaged adapter file, memory that runs out) are
        reported in ``domain.error``; the frame is segmented with the mixture that is active then.

        Raises:
            ImageError: The image is not (H, W, 3) uint8, or it is empty.
            SegmentationError: The segmenter failed, for example because memory ran out even for the smallest batches
                and the plain mode, see `semla_ros.pipeline.memory.MemorySaver`. The next frame may succeed.
        """
        _check_image(frame.rgb)
        self._times = StageTimes()
        self.domain = replace(self.domain, swapped=False)
        with self._errors_reported():
            # 1. Once per navigator period a frame is embedded. Only the very first embedding is waited for.
            if track and self._schedule.has_started_over(frame, self.config.tracker.stamp_tolerance_s):
                self.reset()
            if track and self.config.fusion.adapt:
                self._schedule.submit(frame, self.config.navigator.period_s)
            for result in self._schedule.results(may_wait=track and not self.domain.frozen):
                self._times.seconds["embed"] = result.seconds
                # 2. The embedding moves the average, and the tracker decides whether the domain has changed.
                decision = self._tracker.update(result.embedding, result.frame.stamp_ns, result.texture)
                if self.gaps:
                    self.gaps.note(result, self.library)
                # 3. After a change, the nearest adapters are retrieved and fused into the segmenter's weights.
                if decision is Decision.SWAP and not self.domain.frozen:
                    self._swap(self._retrieve_for_average())
                self._observe()
        # 4. Every frame is segmented with the weights that are active now. They are consistent even after an adaptation
        #    that failed halfway: `LoraFuser.applied` restores the previous mixture on any error.
        self._times.start()
        with self.threads.measured() if self.threads else nullcontext():
            labels, confidence, segments = self.segment_instances(frame.rgb)
        self._times.lap("segment")
        self._fall_back_unless_finite(labels)
        unsure = confidence < self.config.segmenter.min_confidence
        labels[unsure] = unlabelled(labels)
        segments = segments.without(unsure) if segments and unsure.any() else segments
        return SegmentationResult(frame, labels, confidence, self.domain, self._times.seconds, segments)

    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode | None = None, size: tuple[int, int] | None = None
    ) -> tuple[Labels, NDArray[np.float32]]:
        """Segments an image with the weights that are active now, without adapting.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            mode: One pass ("plain") or sliding window ("sliding"); by default ``segmenter.mode``.
            size: Height and width of the result; by default those of the image.

        Returns:
            Class ids (h, w), uint8 or uint16, and their probabilities (h, w) float32. Pixels for which the network
            computed NaN or infinity are unlabelled (255 or 65535) and have probability 0.

        Raises:
            SegmentationError: The segmenter failed, for example because memory ran out.
        """
        return self.adapted.segment(rgb, mode or self.config.segmenter.mode, size)

    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode | None = None, size: tuple[int, int] | None = None
    ) -> tuple[Labels, NDArray[np.float32], Segments | None]:
        """Segments an image like `segment`, and tells objects apart.

        Returns:
            What `segment` returns, and the panoptic segments (h, w); None if the segmenter has no instances.

        Raises:
            SegmentationError: The segmenter failed, for example because memory ran out.
        """
        return self.adapted.segment_instances(rgb, mode or self.config.segmenter.mode, size)

    def retrieve(self, embedding: NDArray[np.float64], exclude: Sequence[str] = ()) -> Mixture:
        """Retrieves the mixture for an embedding (paper, section 3.3), without fusing it.

        Args:
            embedding: Embedding (D,), unnormalised.
            exclude: Names of adapters that are left out, as in leave-one-out evaluation.

        Raises:
            EmbeddingError: The embedding is not finite or has another dimension than the library's centroids.
        """
        return self.library.retrieve(embedding, self.k, self.temperature, exclude)

    def fuse(self, mixture: Mixture) -> None:
        """Fuses a mixture into the segmenter's weights and encodes the classes with them. On any error nothing changes.

        Args:
            mixture: Adapters and weights; without adapters the base weights are restored.

        Raises:
            AdapterError: The file of an adapter is damaged.
            FusionError: The fused weights are not finite.
        """
        self.adapted.fuse(mixture, self.library.load, self._times)
        self._note_mixture()

    def check(self, config: Config) -> None:
        """Checks settings without changing anything.

        Raises:
            ConfigError: The thresholds cross, or a class is named twice.
        """
        EffectiveSettings.of(config, self.bundle.defaults, self.library)
        self.bundle.class_table(config.segmenter.classes)

    def configure(self, config: Config) -> None:
        """Puts new settings in force from the next frame on. On any error the previous settings stay in force.

        Raises:
            ConfigError: The settings contradict each other.
        """
        effective = EffectiveSettings.of(config, self.bundle.defaults, self.library)
        classes = self.bundle.class_table(config.segmenter.classes)
        new, old = config.segmenter, self.config.segmenter
        stops = self.config.fusion.adapt and not config.fusion.adapt
        if stops:
            self.adapted.restore_base(classes, new.prompt_templates)
            self._note_mixture()
            self.reset()
        elif (new.classes, new.prompt_templates) != (old.classes, old.prompt_templates):
            self.adapted.set_classes(classes, new.prompt_templates)
        if (effective.k, effective.temperature) != (self.k, self.temperature):
            self.adapted.history.clear()
            self._tracker.forget_mixture()
        if new != old:
            self.adapted.memory.restore()
        self._apply_settings(config, effective)

    def encode_classes(self) -> None:
        """Encodes the classes again. With ``official_compat`` their embeddings stay the same until this is called."""
        self.adapted.set_classes(self.classes, self.config.segmenter.prompt_templates)

    def freeze(self, frozen: bool) -> None:
        """Holds the active mixture, or lets it follow the domain again."""
        self.domain = replace(self.domain, frozen=frozen)

    def reset(self) -> None:
        """Forgets the domain: the next frame is embedded, and its mixture is fused. A freeze stays in force."""
        self._tracker.reset()
        self._schedule.reset()
        self.adapted.history.clear()
        self.adapted.memory.restore()
        self._rejection, self._unread = "", ()
        self.domain = replace(
            self.domain, swaps=0, skipped=0, distance=math.nan, support=math.nan, out_of_distribution=False, error=""
        )

    def close(self) -> None:
        """Completes what is written in the background. The pipeline can still be used, but records nothing more."""
        if self.gaps:
            self.gaps.close()
            self.gaps = None

    def reload_library(self) -> None:
        """Reads the adapters from disk again and resets the domain. On any error the previous library stays in use.

        Raises:
            AdapterError: There are no adapters, or none of them fits the segmenter.
            ConfigError: The thresholds that are set contradict those of the new library.
        """
        self.use_library(self.read_library())

    def read_library(self, pause: Callable[[], None] = lambda: None) -> AdapterLibrary:
        """Reads the adapters from disk again, without using them yet.

        It changes nothing in the pipeline, so that another thread may call it while frames are processed.

        Args:
            pause: Called after each adapter. It may wait, to leave the processor to others, or raise, to give up.

        Raises:
            AdapterError: There are no adapters, or none of them fits the segmenter.
            ConfigError: The thresholds that are set contradict those of the new library.
        """
        library = self._open_library(pause)
        if not library.names:
            raise AdapterError(
                "no adapters", where=self.bundle.path / ADAPTERS, expected="one folder per adapter",
                hint="The previous library stays in use.",
            )  # fmt: skip
        EffectiveSettings.of(self.config, self.bundle.defaults, library)
        return library

    def use_library(self, library: AdapterLibrary) -> None:
        """Puts a library in the place of the previous one, between two frames, and resets the domain.

        The mixture stays in the weights until the next embedding chooses one from the new library. On any error the
        previous library stays in use.

        Args:
            library: What `read_library` has returned.

        Raises:
            ConfigError: The thresholds that are set contradict those of the new library.
        """
        effective = EffectiveSettings.of(self.config, self.bundle.defaults, library)
        self.library, self._tracker.metric = library, library.index.distance
        self._apply_settings(self.config, effective)
        self.reset()
        self.domain = replace(self.domain, error="; ".join(str(error) for error in library.rejected))

    def _retrieve_for_average(self) -> Mixture:
        assert self._tracker.ema is not None
        self._times.start()
        mixture = self.retrieve(self._tracker.ema)
        self._times.lap("retrieve")
        return mixture

    def _swap(self, mixture: Mixture) -> None:
        """Fuses a mixture, unless the weights would hardly change or it is known to segment badly."""
        is_first = self._tracker.anchor is None
        if self.adapted.history.is_rejected(mixture):
            self._tracker.kept()
        elif not is_first and mixture.change(self.domain.mixture) < self.config.tracker.min_weight_change:
            self._rejection = ""
            self._tracker.kept()
            self.domain = replace(self.domain, skipped=self.domain.skipped + 1)
        else:
            self._fuse_retrieved(mixture)

    def _fuse_retrieved(self, mixture: Mixture) -> None:
        """Fuses a mixture. Adapters whose files cannot be read are left out of it, and reported."""
        try:
            self._rejection, self._unread = "", ()
            self.fuse(mixture)
        except FusionError as error:  # another attempt would fail as well
            self.adapted.history.reject(mixture)
            self._rejection = str(error)
            self._tracker.kept()
            return
        except AdapterError as error:
            unread = tuple(name for name in mixture.names if not self._is_readable(name))
            rest = mixture.without(unread)
            if not rest.names:
                raise
            self.fuse(rest)
            self._rejection, self._unread = f"left out of the mixture: {error}", unread
        self._tracker.swapped()
        self._count_swap()

    def _is_readable(self, name: str) -> bool:
        try:
            self.library.load(name)
        except AdapterError:
            return False
        return True

    def _observe(self) -> None:
        """Updates the state from the moving averages, and loads the adapters of a swap that may follow soon."""
        ema = self._tracker.ema
        assert ema is not None
        self._schedule.succeeded()
        self.domain = replace(
            self.domain,
            distance=self._tracker.distance,
            support=support(np.array(self.domain.mixture.weights), self._active.distances(ema)),
            out_of_distribution=not self.library.is_in_distribution(ema, self._tracker.texture),
            error=self._rejection,
        )
        if self._tracker.drifting and not self.domain.frozen:
            self.library.prefetch(self.retrieve(ema).names)
        self._try_unread_again()

    def _try_unread_again(self) -> None:
        """Retrieves the mixture again as soon as an adapter that was left out of it can be read, in the background."""
        if self._unread and not self.domain.frozen:
            if set(self._unread) & set(self.library.loaded):
                self._tracker.forget_mixture()
            self.library.prefetch(self._unread)

    def _fall_back_unless_finite(self, labels: Labels) -> None:
        """Returns to the last good mixture if the network computed NaN or infinity for any pixel."""
        count = int((labels == unlabelled(labels)).sum())
        if not count:
            self.adapted.history.confirm()
            return
        error = SegmentationError(
            "segmentation is not finite", where=", ".join(self.domain.mixture.names) or "base model",
            got=f"NaN or infinity in {count} of {labels.size} pixels",
        )  # fmt: skip
        self.domain = replace(self.domain, error=str(error))
        if self.domain.mixture.names:
            self._rejection = str(error)
            with self._errors_reported():
                self.adapted.fall_back(self.library.load)
                self._note_mixture()
                self._count_swap()

    def _note_mixture(self) -> None:
        """Reports the mixture that is in the weights. Its centroids are kept, as a reload may remove its adapters."""
        self._active = self.library.index_of(self.adapted.mixture.names)
        self.domain = replace(self.domain, mixture=self.adapted.mixture)

    def _count_swap(self) -> None:
        self.domain = replace(self.domain, swaps=self.domain.swaps + (not self.domain.swapped), swapped=True)

    @contextmanager
    def _errors_reported(self) -> Iterator[None]:
        """Reports any error in ``domain.error``, so that no frame is lost by it."""
        try:
            yield
        except Exception as error:
            self.domain = replace(self.domain, error=self._explained(error))
            self._schedule.failed()

    def _explained(self, error: Exception) -> str:
        """Returns an error of the adaptation in one line. One that is not expected is logged with its traceback."""
        if isinstance(error, SemlaError):
            return str(error)
        if ran_out_of_memory(error):
            return f"memory ran out, the active mixture stays: {first_line(error)}"
        reason = f"{type(error).__name__}: {error}"
        if reason != self.domain.error:
            LOG.exception("adaptation failed unexpectedly")
        return reason

    def _open_library(self, pause: Callable[[], None] = lambda: None) -> AdapterLibrary:
        return AdapterLibrary(
            self.bundle.path / ADAPTERS,
            linear_layers(self.segmenter.network),
            self.navigator.embed_dim,
            self.config.library.memory_mib,
            self.config.library.exclude,
            self.segmenter.device,
            self.segmenter.dtype,
            segmenter_kind(self.bundle.segmenter.kind).module_name,
            self.bundle.defaults.metric,
            pause,
            dict(self.segmenter.network.named_parameters()),
        )

    def _apply_settings(self, config: Config, effective: EffectiveSettings) -> None:
        self.config, self._effective = config, effective
        self._tracker.config = config.tracker
        self._tracker.upper_threshold, self._tracker.lower_threshold = effective.thresholds
        upper, lower = effective.thresholds
        self.domain = replace(self.domain, upper_threshold=upper, lower_threshold=lower)


def _check_image(rgb: NDArray[np.uint8]) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError("not an image", got=f"{rgb.dtype} {rgb.shape}", expected="uint8 (H, W, 3), H and W at least 1")
