"""Which frames the navigator embeds, whether a frame waits for its embedding, and when a failed one is repeated."""

from __future__ import annotations

from semla_ros.images.frame import SECOND_NS, Frame
from semla_ros.pipeline.embedding import Embedder, EmbeddingResult

PRESENT_PERIODS = 4  # a camera has a turn if its newest frame is at most so many periods old


class NavigatorSchedule:
    """Submits one frame per navigator period to the embedder, by message stamps.

    Cameras that share the domain are distinguished by the frame_id, and take turns: without that, of two synchronised
    cameras the first one would be embedded each time.

    Args:
        embedder: Embeds frames, synchronously or asynchronously.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._newest_ns: dict[str, int] = {}  # camera to stamp of its newest frame, in the order of their turns
        self._embedded_ns: int | None = None  # stamp of the last frame that was submitted
        self._has_waited = False  # whether a frame has waited for its embedding
        self._has_failed = False

    def has_started_over(self, frame: Frame, tolerance_s: float) -> bool:
        """Whether a frame is older than the newest one by more than the tolerance: a recording plays in a loop."""
        newest_ns = max(self._newest_ns.values(), default=frame.stamp_ns)
        return newest_ns - frame.stamp_ns > tolerance_s * SECOND_NS

    def submit(self, frame: Frame, period_s: float) -> None:
        """Submits a frame if the period has passed, and it is the turn of its camera.

        A frame that is older than the newest one of its camera is never submitted.
        """
        camera, stamp_ns = frame.frame_id, frame.stamp_ns
        if camera not in self._newest_ns:
            self._newest_ns = {camera: stamp_ns, **self._newest_ns}
        if stamp_ns < self._newest_ns[camera]:
            return
        self._newest_ns[camera] = stamp_ns
        is_due = self._embedded_ns is None or stamp_ns - self._embedded_ns >= period_s * SECOND_NS
        if is_due and self._has_turn(frame, period_s) and self._embedder.submit(frame):
            self._embedded_ns = stamp_ns
            self._newest_ns[camera] = self._newest_ns.pop(camera)  # its next turn comes after those of all others

    def _has_turn(self, frame: Frame, period_s: float) -> bool:
        """Whether a frame is of the first camera in the order of turns. Cameras that are silent are forgotten."""
        oldest_ns = frame.stamp_ns - PRESENT_PERIODS * period_s * SECOND_NS
        self._newest_ns = {
            camera: newest_ns
            for camera, newest_ns in self._newest_ns.items()
            if newest_ns > oldest_ns or camera == frame.frame_id
        }
        return next(iter(self._newest_ns)) == frame.frame_id

    def take(self, may_wait: bool) -> EmbeddingResult | None:
        """Returns the embedding that is ready; None if there is none.

        Args:
            may_wait: Whether the present frame may wait for its embedding. Only the first frame that may does so: it
                is segmented with the first mixture.
        """
        wait = may_wait and not self._has_waited and self._embedded_ns is not None
        if wait:
            self._has_waited = True
        return self._embedder.take(wait)

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
        self._newest_ns, self._embedded_ns = {}, None
        self._has_failed = False
