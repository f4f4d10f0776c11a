"""From a frame to its segmentation. Node, replay, demo, evaluation and benchmark all use this class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config
from semla_ros.errors import AdapterError, ImageError
from semla_ros.images.classes import ClassInfo, Labels, unlabelled
from semla_ros.images.frame import Frame
from semla_ros.images.panoptic import Segments
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.library.library_folder import identity
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
    weights, and whether memory is saved.

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

        Errors of the adaptation (an embedding that is not finite, a damaged adapter file, memory that runs out) are
        reported in ``domain.error``; the frame is segmented with the mixture that is active then.

        Args:
            frame: The frame.
            track: Whether the frame counts for the domain; several cameras may share one.
            camera: The camera whose domain counts. Each name has a moving average and a mixture of its own, which is
                fused at its turn.

        Raises:
            ImageError: The image is not (H, W, 3) uint8, or it is empty.
            SegmentationError: The segmenter failed, for example because memory ran out even for the smallest batches
                and the plain mode, see `semla_ros.pipeline.memory.MemorySaver`. The next frame may succeed.
        """
        _check_image(frame.rgb)
        # 1. The weights get the mixture of the camera's domain, if that of another one is in them.
        self._turn_to(camera)
        # 2. A frame is embedded now and then. If the domain has changed, the nearest adapters are fused.
        self._follower.follow(frame, track, self._times, self.gaps)
        # 3. Every frame is segmented with the weights that are active now. They are consistent even after an adaptation
        #    that failed halfway: `LoraFuser.applied` restores the previous mixture on any error.
        (result,) = self._segmented([frame])
        return result

    @property
    def takes_batches(self) -> bool:
        """Whether `process_together` segments several frames in one pass of the network."""
        return self.adapted.takes_batches

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
        self._turn_to("")
        for frame, track in frames:
            self._follower.follow(frame, track, self._times, self.gaps)
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
        self._follower.fuse(mixture, self._times)

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
            for follower in self._followers.values():
                follower.forget_mixture()
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
            follower.reset()

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
        """Reads the adapters from disk again, without using them yet. Those of the next mixtures are read ahead.

        It changes nothing in the pipeline, so that another thread may call it while frames are processed.

        Args:
            pause: Called after each adapter. It may wait, to leave the processor to others, or raise, to give up.

        Raises:
            AdapterError: There are no adapters, none of them fits the segmenter, or the folder changed meanwhile.
            ConfigError: The thresholds that are set contradict those of the new library.
        """
        folder = self.bundle.path / ADAPTERS
        before = identity(folder)
        library = self._open_library(pause)
        if identity(folder) != before:
            raise AdapterError("the library changed while it was read", where=folder, hint="Try again.")
        if not library.names:
            raise AdapterError("no adapters", where=folder, expected="one folder per adapter")
        effective = EffectiveSettings.of(self.config, self.bundle.defaults, library)
        for follower in list(self._followers.values()):
            follower.read_ahead(library, effective, pause)
        return library

    def use_library(self, library: AdapterLibrary) -> None:
        """Puts a library in the place of the previous one, between two frames, and resets all domains.

        The mixtures stay in use until the next embedding chooses one from the new library. On any error the
        previous library stays in use.

        Args:
            library: What `read_library` has returned.

        Raises:
            ConfigError: The thresholds that are set contradict those of the new library.
        """
        effective = EffectiveSettings.of(self.config, self.bundle.defaults, library)
        self.library = library
        self._apply_settings(self.config, effective)
        for follower in self._followers.values():
            follower.reset()
            follower.use_library(library)

    def _follower_of(self, camera: str) -> DomainFollower:
        """The follower of a camera's domain; a new one for the first frame of a camera."""
        if camera not in self._followers:
            embedder = self.embedder.beside() if self._followers else self.embedder
            follower = DomainFollower(embedder, self.adapted, self.library, self.config, self._effective)
            frozen = any(each.state.frozen for each in self._followers.values())
            follower.state = replace(follower.state, frozen=frozen)
            self._followers[camera] = follower
        return self._followers[camera]

    def _turn_to(self, camera: str) -> None:
        """Makes the domain of a camera the present one."""
        self._times = StageTimes()
        self._follower = self._follower_of(camera)
        self._follower.take_turn(self._times)

    def _segmented(self, frames: Sequence[Frame]) -> list[SegmentationResult]:
        self._times.start()
        with self.threads.measured() if self.threads else nullcontext():
            found = self.adapted.segment_together([each.rgb for each in frames], self.config.segmenter.mode)
        self._times.lap("segment")
        self._follower.check([labels for labels, _, _ in found])
        share = {"segment": self._times.seconds["segment"] / len(frames)}
        latencies = [self._times.seconds | share, *[share] * (len(frames) - 1)]  # the adaptation ran once for all
        return [self._result(frame, *each, s) for frame, each, s in zip(frames, found, latencies, strict=True)]

    def _result(
        self, frame: Frame, labels: Labels, confidence: NDArray[np.float32], segments: Segments | None,
        latency_s: Mapping[str, float],
    ) -> SegmentationResult:  # fmt: skip
        """The result of a frame, with pixels of low confidence unlabelled."""
        unsure = confidence < self.config.segmenter.min_confidence
        labels[unsure] = unlabelled(labels)
        segments = segments.without(unsure) if segments and unsure.any() else segments
        return SegmentationResult(frame, labels, confidence, self.domain, latency_s, segments)

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
            follower.use_settings(config, effective)


def _check_image(rgb: NDArray[np.uint8]) -> None:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageError("not an image", got=f"{rgb.dtype} {rgb.shape}", expected="uint8 (H, W, 3), H and W at least 1")
