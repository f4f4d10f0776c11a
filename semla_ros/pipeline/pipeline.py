"""From a frame to its segmentation. Node, replay, demo, evaluation and benchmark all use this class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.adaptation.tracker import Decision
from semla_ros.config import Config
from semla_ros.errors import AdapterError, FusionError, ImageError, SegmentationError
from semla_ros.images.classes import ClassInfo, Labels, unlabelled
from semla_ros.images.frame import Frame
from semla_ros.images.panoptic import Segments
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.modeling.base import Mode, Segmenter, linear_layers, segmenter_kind
from semla_ros.modeling.threads import ThreadChooser
from semla_ros.pipeline.adapted_segmenter import AdaptedSegmenter
from semla_ros.pipeline.domain_follower import DomainFollower
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.effective import EffectiveSettings
from semla_ros.pipeline.embedding import Embedder
from semla_ros.pipeline.gap_recorder import GapRecorder
from semla_ros.pipeline.result import SegmentationResult
from semla_ros.pipeline.stage_times import StageTimes


class SemlaPipeline:
    """Segments frames and adapts the segmenter when the domain changes.

    All cameras share the weights. By default they share the domain, too; see `process` for cameras with a domain of
    their own. What is kept between two frames is in a `DomainFollower` per domain, and in ``adapted``: the fused
    weights, which mixtures have segmented well or badly, and whether memory is saved.

    Args:
        bundle: Model bundle, for its adapters, classes and default settings.
        segmenter: Segmenter that is adapted.
        embedder: Embeds frames, synchronously or asynchronously.
        config: All settings.

    Attributes:
        config: Settings in force.
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
        self._times = StageTimes()
        self.library = self._open_library()
        self._effective = EffectiveSettings.of(config, bundle.defaults, self.library)
        self._followers: dict[str, DomainFollower] = {}
        self._follower = self._follower_of("")
        self._report_left_out()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Classes that are segmented, in the order of their ids."""
        return self.adapted.classes

    @property
    def domain(self) -> DomainState:
        """State of the adaptation: of the domain that the last frame belongs to."""
        return self._follower.state

    def domain_of(self, camera: str) -> DomainState:
        """Returns the state of the adaptation to the domain of a camera, see `process`."""
        return self._follower_of(camera).state

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

    def process(self, frame: Frame, track: bool = True, camera: str = "") -> SegmentationResult:
        """Segments a frame, after adapting the segmenter if the domain has changed.

        Args:
            frame: The frame.
            track: Whether the frame counts for the domain; several cameras may share one.
            camera: The camera whose domain counts. Each name has a moving average and a mixture of its own, which is
                fused at its turn.

        Errors of the adaptation (an embedding that is not finite, a damaged adapter file, memory that runs out) are
        reported in ``domain.error``; the frame is segmented with the mixture that is active then.

        Raises:
            ImageError: The image is not (H, W, 3) uint8, or it is empty.
            SegmentationError: The segmenter failed, for example because memory ran out even for the smallest batches
                and the plain mode, see `semla_ros.pipeline.memory.MemorySaver`. The next frame may succeed.
        """
        _check_image(frame.rgb)
        self._times = StageTimes()
        follower = self._turn_to(camera)
        self._adapt(follower, frame, track)
        (result,) = self._segmented([frame])
        return result

    def process_together(self, frames: Sequence[tuple[Frame, bool]]) -> list[SegmentationResult]:
        """Segments frames of several cameras that share a domain, in one pass of the network.

        Args:
            frames: Frames, and whether each counts for the domain.

        Returns:
            The result of each frame. All are segmented with the mixture that is active after the last one.

        Raises:
            ImageError, SegmentationError: As for `process`; none of the frames is segmented.
        """
        for frame, _ in frames:
            _check_image(frame.rgb)
        self._times = StageTimes()
        follower = self._turn_to("")
        for frame, track in frames:
            self._adapt(follower, frame, track)
        return self._segmented([frame for frame, _ in frames])

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
        self._follower.note_mixture(self.adapted.mixture)

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
            for follower in self._followers.values():
                follower.note_mixture(self.adapted.mixture)
            self.reset()
        elif (new.classes, new.prompt_templates) != (old.classes, old.prompt_templates):
            self.adapted.set_classes(classes, new.prompt_templates)
        if (effective.k, effective.temperature) != (self.k, self.temperature):
            self.adapted.history.clear()
            for follower in self._followers.values():
                follower.tracker.forget_mixture()
        if new != old:
            self.adapted.memory.restore()
        self._apply_settings(config, effective)

    def encode_classes(self) -> None:
        """Encodes the classes again. With ``official_compat`` their embeddings stay the same until this is called."""
        self.adapted.set_classes(self.classes, self.config.segmenter.prompt_templates)

    def freeze(self, frozen: bool) -> None:
        """Holds the mixture of each domain, or lets it follow the domain again."""
        for follower in self._followers.values():
            follower.state = replace(follower.state, frozen=frozen)

    def reset(self) -> None:
        """Forgets all domains: the next frame is embedded, and its mixture is fused. A freeze stays in force."""
        for follower in self._followers.values():
            self._reset(follower)

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
        self.library = library
        for follower in self._followers.values():
            follower.use_library(library)
        self._apply_settings(self.config, effective)
        self.reset()
        self._report_left_out()

    def _follower_of(self, camera: str) -> DomainFollower:
        """The follower of a camera's domain; a new one for the first frame of a camera."""
        if camera not in self._followers:
            follower = DomainFollower(self.embedder.beside() if self._followers else self.embedder, self.library)
            follower.use_settings(self.config.tracker, self._effective)
            frozen = any(each.state.frozen for each in self._followers.values())
            follower.state = replace(follower.state, frozen=frozen)
            self._followers[camera] = follower
        return self._followers[camera]

    def _turn_to(self, camera: str) -> DomainFollower:
        """Makes the domain of a camera the present one: its mixture is in the weights from now on."""
        self._follower = follower = self._follower_of(camera)
        follower.state = replace(follower.state, swapped=False)
        wanted = follower.state.mixture
        if wanted != self.adapted.mixture:
            with follower.errors_reported():
                try:
                    self.adapted.fuse(wanted, self.library.load, self._times)
                except Exception:
                    follower.note_mixture(self.adapted.mixture)  # it stays in the weights
                    follower.tracker.forget_mixture()
                    raise
        return follower

    def _reset(self, follower: DomainFollower) -> None:
        follower.reset()
        self.adapted.history.clear()
        self.adapted.memory.restore()

    def _report_left_out(self) -> None:
        """Reports the adapters that do not fit the segmenter."""
        error = "; ".join(str(error) for error in self.library.rejected)
        for follower in self._followers.values():
            follower.state = replace(follower.state, error=error)

    def _adapt(self, follower: DomainFollower, frame: Frame, track: bool) -> None:
        """Adapts the segmenter if the domain has changed."""
        with follower.errors_reported():
            # 1. Once per navigator period a frame is embedded. Only the very first embedding is waited for.
            if track and follower.schedule.has_started_over(frame, self.config.tracker.stamp_tolerance_s):
                self._reset(follower)
            if track and self.config.fusion.adapt:
                follower.schedule.submit(frame, self.config.navigator.period_s)
            for result in follower.schedule.results(may_wait=track and not self.domain.frozen):
                self._times.seconds["embed"] = result.seconds
                # 2. The embedding moves the average, and the tracker decides whether the domain has changed.
                decision = follower.tracker.update(result.embedding, result.frame.stamp_ns, result.texture)
                if self.gaps:
                    self.gaps.note(result, self.library)
                # 3. After a change, the nearest adapters are retrieved and fused into the segmenter's weights.
                if decision is Decision.SWAP and not self.domain.frozen:
                    self._swap(self._retrieve_for_average())
                follower.observe()
                if not self.domain.frozen:
                    self._prefetch(follower)

    def _segmented(self, frames: Sequence[Frame]) -> list[SegmentationResult]:
        """Segments frames with the weights that are active now.

        They are consistent even after an adaptation that failed halfway: `LoraFuser.applied` restores the previous
        mixture on any error.
        """
        # 4. Every frame is segmented.
        self._times.start()
        with self.threads.measured() if self.threads else nullcontext():
            found = self.adapted.segment_together([each.rgb for each in frames], self.config.segmenter.mode)
        self._times.lap("segment")
        self._fall_back_unless_finite([labels for labels, _, _ in found])
        return [self._result(frame, *each) for frame, each in zip(frames, found, strict=True)]

    def _result(
        self, frame: Frame, labels: Labels, confidence: NDArray[np.float32], segments: Segments | None
    ) -> SegmentationResult:
        """The result of a frame, with pixels of low confidence unlabelled."""
        unsure = confidence < self.config.segmenter.min_confidence
        labels[unsure] = unlabelled(labels)
        segments = segments.without(unsure) if segments and unsure.any() else segments
        return SegmentationResult(frame, labels, confidence, self.domain, self._times.seconds, segments)

    def _retrieve_for_average(self) -> Mixture:
        assert self._follower.tracker.ema is not None
        self._times.start()
        mixture = self.retrieve(self._follower.tracker.ema)
        self._times.lap("retrieve")
        return mixture

    def _swap(self, mixture: Mixture) -> None:
        """Fuses a mixture, unless the weights would hardly change or it is known to segment badly."""
        follower = self._follower
        is_first = follower.tracker.anchor is None
        if self.adapted.history.is_rejected(mixture):
            follower.tracker.kept()
        elif not is_first and mixture.change(self.domain.mixture) < self.config.tracker.min_weight_change:
            follower.rejection = ""
            follower.tracker.kept()
            follower.state = replace(self.domain, skipped=self.domain.skipped + 1)
        else:
            self._fuse_retrieved(mixture)

    def _fuse_retrieved(self, mixture: Mixture) -> None:
        """Fuses a mixture. Adapters whose files cannot be read are left out of it, and reported."""
        follower = self._follower
        try:
            follower.rejection, follower.unread = "", ()
            self.fuse(mixture)
        except FusionError as error:  # another attempt would fail as well
            self.adapted.history.reject(mixture)
            follower.rejection = str(error)
            follower.tracker.kept()
            return
        except AdapterError as error:
            unread = tuple(name for name in mixture.names if not self._is_readable(name))
            rest = mixture.without(unread)
            if not rest.names:
                raise
            self.fuse(rest)
            follower.rejection, follower.unread = f"left out of the mixture: {error}", unread
        follower.tracker.swapped()
        follower.count_swap()

    def _is_readable(self, name: str) -> bool:
        try:
            self.library.load(name)
        except AdapterError:
            return False
        return True

    def _prefetch(self, follower: DomainFollower) -> None:
        """Loads the adapters of a swap that may follow soon, and those that could not be read."""
        if follower.tracker.drifting and follower.tracker.ema is not None:
            self.library.prefetch(self.retrieve(follower.tracker.ema).names)
        if follower.unread:
            follower.try_unread_again()

    def _fall_back_unless_finite(self, found: Sequence[Labels]) -> None:
        """Returns to the last good mixture if the network computed NaN or infinity for any pixel."""
        count = sum(int((labels == unlabelled(labels)).sum()) for labels in found)
        if not count:
            self.adapted.history.confirm()
            return
        error = SegmentationError(
            "segmentation is not finite", where=", ".join(self.domain.mixture.names) or "base model",
            got=f"NaN or infinity in {count} of {sum(labels.size for labels in found)} pixels",
        )  # fmt: skip
        follower = self._follower
        follower.state = replace(self.domain, error=str(error))
        if self.domain.mixture.names:
            follower.rejection = str(error)
            with follower.errors_reported():
                self.adapted.fall_back(self.library.load)
                follower.note_mixture(self.adapted.mixture)
                follower.count_swap()

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
        for follower in self._followers.values():
            follower.use_settings(config.tracker, effective)


def _check_image(rgb: NDArray[np.uint8]) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError("not an image", got=f"{rgb.dtype} {rgb.shape}", expected="uint8 (H, W, 3), H and W at least 1")
