"""Follows one domain: what is reported about it, and what is kept of it between two frames."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from semla_ros.adaptation.retrieval import Mixture, support
from semla_ros.adaptation.tracker import DomainTracker
from semla_ros.config import TrackerConfig
from semla_ros.errors import SemlaError
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.effective import EffectiveSettings
from semla_ros.pipeline.embedding import Embedder
from semla_ros.pipeline.memory import first_line, ran_out_of_memory
from semla_ros.pipeline.schedule import NavigatorSchedule

LOG = logging.getLogger(__name__)


class DomainFollower:
    """What is known about the domain of one camera, or about that of all of them.

    Args:
        embedder: Embeds the frames that count for this domain.
        library: Adapters that its mixtures are retrieved from.

    Attributes:
        state: What is reported. The mixture and ``frozen`` survive a reset.
        tracker: Moving average of the embeddings, and the average that the mixture was retrieved for.
        schedule: Stamps of the newest frame and of the newest embedded one.
        rejection: Why the mixture that was retrieved last is not the active one; empty if it is.
        unread: Adapters that were left out of the mixture because their files could not be read.
    """

    def __init__(self, embedder: Embedder, library: AdapterLibrary) -> None:
        self.state = DomainState()
        self.tracker = DomainTracker(TrackerConfig(), math.inf, math.inf)
        self.schedule = NavigatorSchedule(embedder)
        self.rejection = ""
        self.unread: tuple[str, ...] = ()
        self.use_library(library)
        self.note_mixture(Mixture())

    def use_library(self, library: AdapterLibrary) -> None:
        """Retrieves from another library from now on. The mixture stays until the next embedding."""
        self._library, self.tracker.metric = library, library.index.distance

    def use_settings(self, config: TrackerConfig, effective: EffectiveSettings) -> None:
        """Puts time constants and thresholds in force."""
        self.tracker.config = config
        upper, lower = effective.thresholds
        self.tracker.upper_threshold, self.tracker.lower_threshold = upper, lower
        self.state = replace(self.state, upper_threshold=upper, lower_threshold=lower)

    def note_mixture(self, mixture: Mixture) -> None:
        """Reports the mixture that is in the weights. Its centroids are kept, as a reload may remove its adapters."""
        self._active = self._library.index_of(mixture.names)
        self.state = replace(self.state, mixture=mixture)

    def count_swap(self) -> None:
        """Counts a change of the mixture, once per frame."""
        self.state = replace(self.state, swaps=self.state.swaps + (not self.state.swapped), swapped=True)

    def observe(self) -> None:
        """Updates the state from the moving averages, after an embedding was used."""
        ema = self.tracker.ema
        assert ema is not None
        self.schedule.succeeded()
        self.state = replace(
            self.state,
            distance=self.tracker.distance,
            support=support(np.array(self.state.mixture.weights), self._active.distances(ema)),
            out_of_distribution=not self._library.is_in_distribution(ema, self.tracker.texture),
            error=self.rejection,
        )

    def try_unread_again(self) -> None:
        """Retrieves the mixture again as soon as an adapter that was left out of it can be read, in the background."""
        if set(self.unread) & set(self._library.loaded):
            self.tracker.forget_mixture()
        self._library.prefetch(self.unread)

    def reset(self) -> None:
        """Forgets the domain: the next frame is embedded, and its mixture is fused. A freeze stays in force."""
        self.tracker.reset()
        self.schedule.reset()
        self.rejection, self.unread = "", ()
        self.state = replace(
            self.state, swaps=0, skipped=0, distance=math.nan, support=math.nan, out_of_distribution=False, error=""
        )

    @contextmanager
    def errors_reported(self) -> Iterator[None]:
        """Reports any error in ``state.error``, so that no frame is lost by it."""
        try:
            yield
        except Exception as error:
            self.state = replace(self.state, error=self._explained(error))
            self.schedule.failed()

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
