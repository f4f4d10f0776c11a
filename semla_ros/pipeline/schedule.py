"""Which frames the navigator embeds, whether a frame waits for its embedding, and when a failed one is repeated."""

from __future__ import annotations

from collections.abc import Iterator

from semla_ros.adaptation.tracker import SECOND_NS
from semla_ros.images.frame import Frame
from semla_ros.pipeline.embedding import Embedder, EmbeddingResult


class NavigatorSchedule:
    """Submits one frame per navigator period to the embedder, by message stamps.

    Args:
        embedder: Embeds frames, synchronously or asynchronously.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._newest_ns: int | None = None  # stamp of the newest frame
        self._embedded_ns: int | None = None  # stamp of the last frame that was submitted
        self._has_waited = False  # whether a frame has waited for its embedding
        self._has_failed = False

    def has_started_over(self, frame: Frame, tolerance_s: float) -> bool:
        """Whether a frame is older than the newest one by more than the tolerance: a recording plays in a loop."""
        return self._newest_ns is not None and self._newest_ns - frame.stamp_ns > tolerance_s * SECOND_NS

    def submit(self, frame: Frame, period_s: float) -> None:
        """Submits a frame if the period has passed. A frame that is older than the newest one is never submitted."""
        if self._newest_ns is not None and frame.stamp_ns < self._newest_ns:
            return
        self._newest_ns = frame.stamp_ns
        is_due = self._embedded_ns is None or frame.stamp_ns - self._embedded_ns >= period_s * SECOND_NS
        if is_due and self._embedder.submit(frame):
            self._embedded_ns = frame.stamp_ns

    def results(self, may_wait: bool) -> Iterator[EmbeddingResult]:
        """Yields the embeddings that are ready.

        Args:
            may_wait: Whether the present frame may wait for its embedding. Only the first frame that may does so: it
                is segmented with the first mixture.
        """
        wait = may_wait and not self._has_waited and self._embedded_ns is not None
        if wait:
            self._has_waited = True
        yield from self._embedder.results(wait)

    def succeeded(self) -> None:
        """Notes that an embedding was used without an error."""
        self._has_failed = False

    def failed(self) -> None:
        """Notes an error. The next frame is embedded at once, but if that fails, too, only after another period."""
        if not self._has_failed:
            self._embedded_ns = None
        self._has_failed = True

    def reset(self) -> None:
        """Forgets all frames: the next one is embedded, whatever its stamp."""
        self._embedder.clear()
        self._newest_ns = self._embedded_ns = None
        self._has_failed = False
