"""When embeddings are computed: synchronously with the frames, or asynchronously in a thread."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from semla_ros.images.frame import Frame
from semla_ros.images.texture import texture
from semla_ros.modeling.base import Navigator


@dataclass
class Pause:
    """The pause of a navigator that embeds for several domains.

    Attributes:
        until_s: When it ends, by the monotonic clock.
    """

    until_s: float = 0.0


@dataclass(frozen=True)
class EmbeddingResult:
    """The embedding of a frame.

    Attributes:
        embedding: Embedding (D,), unnormalised.
        texture: Texture of the image, see `semla_ros.images.texture`.
        frame: The frame.
        seconds: Time that the navigator took.
        finished_s: When it finished, by the monotonic clock.
    """

    embedding: NDArray[np.float64]
    texture: NDArray[np.float64]
    frame: Frame
    seconds: float
    finished_s: float


class Embedder(Protocol):
    """Accepts frames and returns their embeddings, at once or later.

    Attributes:
        navigator: Computes the embeddings.
    """

    navigator: Navigator

    def submit(self, frame: Frame) -> bool:
        """Submits a frame. Returns False and ignores the frame if the navigator is not free."""

    def take(self, wait: bool = False) -> EmbeddingResult | None:
        """Returns the embedding of the frame that was submitted last, once; None if it is not ready.

        Args:
            wait: Whether to wait for it.

        Raises:
            Exception: Whatever the navigator raised.
        """

    def clear(self) -> None:
        """Forgets the frame that was submitted last; its embedding is never returned. The next frame is accepted."""

    def beside(self) -> Embedder:
        """Another embedder with the same navigator, for the frames of another domain."""


class SynchronousEmbedder:
    """Computes each embedding at once, so that a recording gives the same swaps every time.

    Args:
        navigator: Computes the embeddings.
    """

    def __init__(self, navigator: Navigator) -> None:
        self.navigator = navigator
        self._frame: Frame | None = None

    def submit(self, frame: Frame) -> bool:
        """See `Embedder.submit`."""
        self._frame = frame
        return True

    def take(self, wait: bool = False) -> EmbeddingResult | None:
        """See `Embedder.take`."""
        frame, self._frame = self._frame, None
        return None if frame is None else embedded(self.navigator, frame)

    def clear(self) -> None:
        """See `Embedder.clear`."""
        self._frame = None

    def beside(self) -> SynchronousEmbedder:
        """See `Embedder.beside`."""
        return SynchronousEmbedder(self.navigator)


class AsynchronousEmbedder:
    """Computes embeddings in a thread with one core, so that no frame waits for the navigator.

    Only the caller's thread changes the state: the result of a frame that was cleared meanwhile changes nothing.

    Args:
        navigator: Computes the embeddings.
        max_share: Largest share of wall time that the navigator may use, above 0 and up to 1. After each embedding the
            thread pauses; frames that are submitted meanwhile are ignored.
    """

    def __init__(self, navigator: Navigator, max_share: float = 1.0) -> None:
        self.navigator, self.max_share = navigator, max_share
        self._pause, self._is_new = Pause(), True
        self._thread = ThreadPoolExecutor(1, "semla_navigator", torch.set_num_threads, (1,))
        self._pending: Future[EmbeddingResult] | None = None

    def submit(self, frame: Frame) -> bool:
        """See `Embedder.submit`. The first frame, and the first one after `clear`, are accepted during a pause, too."""
        if self._pending is not None or (time.monotonic() < self._pause.until_s and not self._is_new):
            return False
        self._is_new = False
        self._pending = self._thread.submit(embedded, self.navigator, frame)
        return True

    def take(self, wait: bool = False) -> EmbeddingResult | None:
        """See `Embedder.take`."""
        if self._pending is None or not (wait or self._pending.done()):
            return None
        pending, self._pending = self._pending, None
        result = pending.result()
        pause_s = result.seconds * (1 / self.max_share - 1)
        self._pause.until_s = max(self._pause.until_s, result.finished_s) + pause_s
        return result

    def clear(self) -> None:
        """See `Embedder.clear`."""
        if self._pending is not None:
            self._pending.cancel()  # if it has not begun
        self._pending, self._is_new = None, True

    def beside(self) -> AsynchronousEmbedder:
        """See `Embedder.beside`. Both use the same thread, and together not more than ``max_share``."""
        other = copy(self)
        other._pending, other._is_new = None, True
        return other


def embedded(navigator: Navigator, frame: Frame) -> EmbeddingResult:
    """Embeds a frame, measures its texture, and measures the time of both."""
    start = time.perf_counter()
    embedding, measured = navigator.embed(frame.rgb), texture(frame.rgb)
    return EmbeddingResult(embedding, measured, frame, time.perf_counter() - start, time.monotonic())
