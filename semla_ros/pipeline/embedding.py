"""When embeddings are computed: in step with the frames, or in a thread beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from semla_ros.images.frame import Frame
from semla_ros.modeling.base import Navigator


@dataclass(frozen=True)
class EmbeddingResult:
    """An embedded frame.

    Attributes:
        embedding: (D,), unnormalised.
        stamp_ns: The frame's.
        seconds: What embedding it took.
    """

    embedding: NDArray[np.float64]
    stamp_ns: int
    seconds: float


class Embedder(Protocol):
    """Takes frames and gives their embeddings back, sooner or later."""

    navigator: Navigator

    def submit(self, frame: Frame) -> None:
        """Hands a frame over; nothing happens while another one is at work."""

    def results(self, wait: bool = False) -> Iterator[EmbeddingResult]:
        """What has been embedded since the last call; with ``wait``, what was submitted is waited for."""

    def clear(self) -> None:
        """Forgets what was submitted."""


class SynchronousEmbedder:
    """Embeds at once, so that a recording gives the same swaps every time.

    Args:
        navigator: What embeds.
    """

    def __init__(self, navigator: Navigator) -> None:
        self.navigator = navigator
        self._frame: Frame | None = None

    def submit(self, frame: Frame) -> None:
        """See `Embedder.submit`."""
        self._frame = frame

    def results(self, wait: bool = False) -> Iterator[EmbeddingResult]:
        """See `Embedder.results`."""
        frame, self._frame = self._frame, None
        if frame is not None:
            yield embedded(self.navigator, frame)

    def clear(self) -> None:
        """See `Embedder.clear`."""
        self._frame = None


class AsynchronousEmbedder:
    """Embeds in a thread of its own, on one core: a frame is never kept waiting for the navigator.

    Args:
        navigator: What embeds.
        share: Of the time, at most: after an embedding the thread rests, and frames handed over are let pass.
    """

    def __init__(self, navigator: Navigator, share: float = 1.0) -> None:
        self.navigator, self.share = navigator, share
        self._rests_until = 0.0
        self._thread = ThreadPoolExecutor(1, "semla_navigator", torch.set_num_threads, (1,))
        self._work: Future[EmbeddingResult] | None = None

    def submit(self, frame: Frame) -> None:
        """See `Embedder.submit`."""
        if self._work is None and time.monotonic() >= self._rests_until:
            self._work = self._thread.submit(self._embedded, frame)

    def results(self, wait: bool = False) -> Iterator[EmbeddingResult]:
        """See `Embedder.results`."""
        if self._work is not None and (wait or self._work.done()):
            work, self._work = self._work, None
            yield work.result()

    def clear(self) -> None:
        """See `Embedder.clear`."""
        self._work, self._rests_until = None, 0.0

    def _embedded(self, frame: Frame) -> EmbeddingResult:
        result = embedded(self.navigator, frame)
        self._rests_until = time.monotonic() + result.seconds * (1 / self.share - 1)
        return result


def embedded(navigator: Navigator, frame: Frame) -> EmbeddingResult:
    """Embeds a frame and takes the time."""
    start = time.perf_counter()
    embedding = navigator.embed(frame.rgb)
    return EmbeddingResult(embedding, frame.stamp_ns, time.perf_counter() - start)
