"""Follows one domain: embeds its frames, notices when it has changed, and fuses the adapters that are near it then."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np

from semla_ros.adaptation.retrieval import Mixture, support
from semla_ros.adaptation.tracker import Decision, DomainTracker
from semla_ros.config import Config
from semla_ros.errors import AdapterError, FusionError, SegmentationError, SemlaError
from semla_ros.images.classes import Labels, unlabelled
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.pipeline.adapted_segmenter import AdaptedSegmenter
from semla_ros.pipeline.domain_errors import DomainErrors
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.effective import EffectiveSettings
from semla_ros.pipeline.embedding import Embedder
from semla_ros.pipeline.gap_recorder import GapRecorder
from semla_ros.pipeline.memory import first_line, ran_out_of_memory
from semla_ros.pipeline.mixture_history import MixtureHistory, RetrievedMixture
from semla_ros.pipeline.schedule import NavigatorSchedule
from semla_ros.pipeline.stage_times import StageTimes

LOG = logging.getLogger(__name__)


class DomainFollower:
    """What is known about the domain of one camera, or about that of all of them, and what is done about its changes.

    Args:
        embedder: Embeds the frames that count for this domain.
        adapted: The segmenter; others may share it.
        library: Adapters that mixtures are retrieved from.
        config: The settings.
        effective: What settings of 0 stand for.

    Attributes:
        state: What is reported. The mixture and ``frozen`` survive a reset.
        tracker: Moving average of the embeddings, and the average that the mixture was retrieved for.
    """

    def __init__(
        self, embedder: Embedder, adapted: AdaptedSegmenter, library: AdapterLibrary, config: Config,
        effective: EffectiveSettings,
    ) -> None:  # fmt: skip
        self.state = DomainState()
        self.tracker = DomainTracker(config.tracker, math.inf, math.inf, library.index.distance)
        self._schedule = NavigatorSchedule(embedder)
        self._adapted = adapted
        self._history = MixtureHistory()
        self._errors = DomainErrors()
        self._unread: tuple[str, ...] = ()  # adapters that were left out of the mixture: their files cannot be read
        self.use_library(library)
        self.use_settings(config, effective)
        self.note_mixture(Mixture())

    def use_library(self, library: AdapterLibrary) -> None:
        """Retrieves from another library from now on. The mixture stays until the next embedding."""
        self._library, self.tracker.metric = library, library.index.distance
        self._report(newest="; ".join(str(error) for error in library.rejected))

    def read_ahead(self, library: AdapterLibrary, effective: EffectiveSettings, pause: Callable[[], None]) -> None:
        """Reads the adapters that will be retrieved from another library, unless the domain changes before.

        It changes nothing here, so that another thread may call it. ``pause`` is called after each adapter.
        """
        average = self.tracker.ema
        if average is None:
            return
        for name in library.retrieve(average, effective.k, effective.temperature).names:
            with suppress(AdapterError):  # the next mixture reports it
                library.load(name)
            pause()

    def use_settings(self, config: Config, effective: EffectiveSettings) -> None:
        """Puts settings in force."""
        self._config, self._effective, self.tracker.config = config, effective, config.tracker
        upper, lower = effective.thresholds
        self.tracker.upper_threshold, self.tracker.lower_threshold = upper, lower
        self.state = replace(self.state, upper_threshold=upper, lower_threshold=lower)

    def note_mixture(self, mixture: Mixture) -> None:
        """Takes the mixture that is in the weights for that of this domain.

        Its centroids are kept, and the library that it is from, because a reload may remove its adapters.
        """
        self._note(RetrievedMixture.of(mixture, self._library))

    def fuse(self, mixture: Mixture, times: StageTimes) -> None:
        """Fuses a mixture into the segmenter's weights. On any error nothing changes.

        Raises:
            AdapterError: The file of an adapter is damaged.
            FusionError: The fused weights are not finite.
        """
        self._fuse(RetrievedMixture.of(mixture, self._library), times)

    def forget_mixture(self) -> None:
        """Retrieves a mixture at the next embedding, also one that has segmented badly before."""
        self._history.clear()
        self.tracker.forget_mixture()

    def take_turn(self, times: StageTimes) -> None:
        """Brings the mixture of this domain into the weights, if that of another one is there.

        If that fails, the base weights are restored, and the next turn tries again.
        """
        self.state = replace(self.state, swapped=False)
        if self._own.mixture == self._adapted.mixture:
            return
        with self._errors_reported():
            try:
                self._adapted.fuse(self._own.mixture, self._own.library.load, times)
                self._report_mixture(self._own)
                return
            except Exception:
                self._adapted.fuse(Mixture(), self._own.library.load, times)
                self._report_mixture(RetrievedMixture.of(Mixture(), self._library))
                self.tracker.forget_mixture()
                raise
        self._report(newest="", turn=self._errors.newest)

    def follow(self, frame: Frame, track: bool, times: StageTimes, gaps: GapRecorder | None) -> None:
        """Adapts the segmenter if the domain has changed. Any error is reported in ``state.error``.

        Args:
            frame: A frame.
            track: Whether it counts for the domain.
            times: Measures the stages.
            gaps: Records the images that no adapter fits; None records nothing.
        """
        with self._errors_reported():
            # 1. Once per navigator period a frame is embedded. Only the very first embedding is waited for.
            if track and self._schedule.has_started_over(frame, self._config.tracker.stamp_tolerance_s):
                self.reset()
            if track and self._config.fusion.adapt:
                self._schedule.submit(frame, self._config.navigator.period_s)
            newest = self._schedule.take(may_wait=track and not self.state.frozen)
            if newest is None:
                return
            times.seconds["embed"] = newest.seconds
            # 2. The embedding moves the average, and the tracker decides whether the domain has changed.
            decision = self.tracker.update(newest.embedding, newest.frame.stamp_ns, newest.texture)
            if gaps:
                gaps.note(newest, self._library)
            # 3. After a change, the nearest adapters are retrieved and fused into the segmenter's weights.
            if decision is Decision.SWAP and not self.state.frozen:
                self._swap(times)
            self._observe()

    def check(self, found: Sequence[Labels]) -> None:
        """Returns to the last good mixture if the network computed NaN or infinity for any pixel.

        Args:
            found: Labels of the images that were segmented with the mixture.
        """
        count = sum(int((labels == unlabelled(labels)).sum()) for labels in found)
        if not count:
            self._history.confirm()
            return
        error = SegmentationError(
            "segmentation is not finite", where=", ".join(self.state.mixture.names) or "base model",
            got=f"NaN or infinity in {count} of {sum(labels.size for labels in found)} pixels",
        )  # fmt: skip
        self._report(newest=str(error))
        if self.state.mixture.names:
            self._report(rejection=str(error))
            with self._errors_reported():
                self._fall_back()
                self._count_swap()

    def reset(self) -> None:
        """Forgets the domain: the next frame is embedded, and its mixture is fused. A freeze stays in force."""
        self.tracker.reset()
        self._schedule.reset()
        self._history.clear()
        self._adapted.memory.restore()
        self._unread = ()
        self._report(newest="", turn="", rejection="")
        self.state = replace(
            self.state, swaps=0, skipped=0, distance=math.nan, support=math.nan, out_of_distribution=False
        )

    def _swap(self, times: StageTimes) -> None:
        """Fuses the mixture for the average, unless the weights would hardly change or it is known to segment badly."""
        times.start()
        mixture = self._retrieved()
        times.lap("retrieve")
        is_first = self.tracker.anchor is None
        if self._history.is_rejected(mixture.without(self._unread)):
            self.tracker.kept()
        elif not is_first and mixture.change(self.state.mixture) < self._config.tracker.min_weight_change:
            self._report(rejection="")
            self.tracker.kept()
            self.state = replace(self.state, skipped=self.state.skipped + 1)
        else:
            self._fuse_retrieved(mixture, times)

    def _retrieved(self) -> Mixture:
        """The mixture for the moving average."""
        assert self.tracker.ema is not None
        return self._library.retrieve(self.tracker.ema, self._effective.k, self._effective.temperature)

    def _fuse_retrieved(self, mixture: Mixture, times: StageTimes) -> None:
        """Fuses a mixture. Adapters whose files cannot be read are left out of it, and reported."""
        self._unread = ()
        self._report(rejection="")
        try:
            self._fuse_unless_infinite(mixture, times)
        except AdapterError as error:
            unread = tuple(name for name in mixture.names if not self._is_readable(name))
            rest = mixture.without(unread)
            if not rest.names:
                raise
            self._unread = unread
            self._report(rejection=f"left out of the mixture: {error}")
            self._fuse_unless_infinite(rest, times)

    def _fuse_unless_infinite(self, mixture: Mixture, times: StageTimes) -> None:
        """Fuses a mixture, or rejects it if the fused weights are not finite."""
        try:
            self.fuse(mixture, times)
        except FusionError as error:  # another attempt would fail as well
            self._history.reject(mixture)
            self._report(rejection=str(error))
            self.tracker.kept()
        else:
            self.tracker.swapped()
            self._count_swap()

    def _fuse(self, own: RetrievedMixture, times: StageTimes) -> None:
        self._adapted.fuse(own.mixture, own.library.load, times)
        self._history.replace(self._active)
        self._note(own)

    def _note(self, own: RetrievedMixture) -> None:
        self._own = own
        self._report_mixture(own)

    def _fall_back(self) -> None:
        """Rejects the mixture and returns to the last good one, or to the base weights if that fails, too."""
        self._history.reject(self.state.mixture)
        base = RetrievedMixture.of(Mixture(), self._library)
        try:
            self._fuse(self._history.last_good or base, StageTimes())
        except Exception:
            self._fuse(base, StageTimes())  # the base weights need no file

    def _is_readable(self, name: str) -> bool:
        try:
            self._library.load(name)
        except AdapterError:
            return False
        return True

    def _report_mixture(self, own: RetrievedMixture) -> None:
        """Reports a mixture that is in the weights."""
        self._active = own
        self.state = replace(self.state, mixture=own.mixture)
        self._report(turn="")

    def _report(self, **errors: str) -> None:
        """Replaces some of the errors, see `DomainErrors`."""
        self._errors = replace(self._errors, **errors)
        self.state = replace(self.state, error=self._errors.text)

    def _count_swap(self) -> None:
        """Counts a change of the mixture, once per frame."""
        self.state = replace(self.state, swaps=self.state.swaps + (not self.state.swapped), swapped=True)

    def _observe(self) -> None:
        """Updates the state from the moving averages, and loads the adapters of a swap that may follow soon."""
        ema = self.tracker.ema
        assert ema is not None
        self._schedule.succeeded()
        self._report(newest="")
        self.state = replace(
            self.state,
            distance=self.tracker.distance,
            support=support(np.array(self.state.mixture.weights), self._active.centroids.distances(ema)),
            out_of_distribution=not self._library.is_in_distribution(ema, self.tracker.texture),
        )
        if self.tracker.drifting and not self.state.frozen:
            self._library.prefetch(self._retrieved().names)
        self._try_unread_again()

    def _try_unread_again(self) -> None:
        """Retrieves the mixture again as soon as an adapter that was left out of it can be read, in the background."""
        if self._unread and not self.state.frozen:
            self._library.prefetch(self._unread)
            if set(self._unread) & set(self._library.loaded):
                self.tracker.forget_mixture()
                self._unread = ()

    @contextmanager
    def _errors_reported(self) -> Iterator[None]:
        """Reports any error in ``state.error``, so that no frame is lost by it."""
        try:
            yield
        except Exception as error:
            self._report(newest=self._explained(error))
            self._schedule.failed()

    def _explained(self, error: Exception) -> str:
        """Returns an error of the adaptation in one line. One that is not expected is logged with its traceback."""
        if isinstance(error, SemlaError):
            return str(error)
        if ran_out_of_memory(error):
            return f"memory ran out, the active mixture stays: {first_line(error)}"
        reason = f"{type(error).__name__}: {error}"
        if reason != self.state.error:
            LOG.exception("adaptation failed unexpectedly")
        return reason
