from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import frame, random_navigator

from semla_ros.modeling.navigators.clip import ClipNavigator
from semla_ros.pipeline.embedding import AsynchronousEmbedder, Embedder, SynchronousEmbedder

PATIENCE_S = 60


class HeldNavigator:
    """A navigator that embeds only after it is released, and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.navigator: ClipNavigator = random_navigator()
        self.begun, self.go = threading.Event(), threading.Event()
        self.calls, self.finished, self._embed = 0, 0, self.navigator.embed
        monkeypatch.setattr(self.navigator, "embed", self.embed)

    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(PATIENCE_S), "the navigator was never released"
        embedding = self._embed(rgb)
        self.finished += 1
        return embedding

    def wait_until_finished(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.finished < count:
            assert time.monotonic() < deadline, f"{self.finished} of {count} embeddings finished"
            time.sleep(0.01)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> HeldNavigator:
    return HeldNavigator(monkeypatch)


def taken(embedder: Embedder) -> float | None:
    """Waits for an embedding; the stamp of its frame in seconds, None without one."""
    result = embedder.take(wait=True)
    return None if result is None else result.frame.stamp_ns / 10**9


def test_synchronously_a_frame_is_embedded_at_once_and_once() -> None:
    embedder = SynchronousEmbedder(random_navigator())
    embedder.submit(frame("red", 1.0))
    result = embedder.take()
    assert result is not None
    assert (result.embedding == random_navigator().embed(frame("red", 1.0).rgb)).all()
    assert result.frame.stamp_ns == 10**9
    assert result.seconds > 0
    assert embedder.take() is None


def test_asynchronously_results_are_returned_when_they_are_ready(held: HeldNavigator) -> None:
    embedder = AsynchronousEmbedder(held.navigator)
    embedder.submit(frame("red", 1.0))
    assert embedder.take() is None
    held.go.set()
    assert taken(embedder) == 1


def test_asynchronously_one_frame_is_embedded_at_a_time_and_others_are_ignored(held: HeldNavigator) -> None:
    embedder = AsynchronousEmbedder(held.navigator)
    for second in (1.0, 2.0, 3.0):
        embedder.submit(frame("red", second))
    held.go.set()
    assert taken(embedder) == 1
    assert held.calls == 1
    embedder.submit(frame("red", 4.0))
    assert taken(embedder) == 4


def test_the_embedding_of_a_frame_that_was_cleared_is_never_returned(held: HeldNavigator) -> None:
    embedder = AsynchronousEmbedder(held.navigator)
    embedder.submit(frame("red", 1.0))
    embedder.clear()
    held.go.set()
    assert embedder.take(wait=True) is None
    embedder.submit(frame("blue", 2.0))
    assert taken(embedder) == 2


def test_an_embedding_that_was_cleared_under_way_does_not_delay_the_next_one(held: HeldNavigator) -> None:
    embedder = AsynchronousEmbedder(held.navigator, max_share=1e-6)
    assert embedder.submit(frame("red", 1.0))
    assert held.begun.wait(PATIENCE_S), "the navigator never began"
    embedder.clear()
    held.go.set()
    held.wait_until_finished(1)
    assert embedder.submit(frame("blue", 2.0))
    assert taken(embedder) == 2
    assert not embedder.submit(frame("blue", 3.0))


def test_asynchronously_the_navigator_uses_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    navigator, threads = random_navigator(), []
    monkeypatch.setattr(navigator, "embed", lambda rgb: threads.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    embedder = AsynchronousEmbedder(navigator)
    embedder.submit(frame("red", 1.0))
    assert embedder.take(wait=True) is not None
    assert threads == [1]
    assert torch.get_num_threads() == before


def test_a_slow_navigator_keeps_to_its_largest_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    navigator, now = random_navigator(), [0.0]
    monkeypatch.setattr(
        "semla_ros.pipeline.embedding.time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0])
    )
    monkeypatch.setattr(navigator, "embed", lambda rgb: now.__setitem__(0, now[0] + 1.0))
    embedder, seen = AsynchronousEmbedder(navigator, max_share=0.25), []
    for second in range(1, 9):
        now[0] = max(now[0], float(second))
        embedder.submit(frame("red", second))
        seen.append(taken(embedder))
    assert [second for second in seen if second] == [1, 5]
    embedder.clear()
    embedder.submit(frame("red", 9))
    assert embedder.take(wait=True) is not None


@pytest.mark.parametrize("kind", [SynchronousEmbedder, AsynchronousEmbedder])
def test_an_error_of_the_navigator_is_raised_once_and_the_next_frame_is_embedded(
    kind: type[SynchronousEmbedder] | type[AsynchronousEmbedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = kind(random_navigator())
    with monkeypatch.context() as broken:
        broken.setattr(embedder.navigator, "embed", lambda rgb: 1 / 0)
        embedder.submit(frame("red", 1.0))
        with pytest.raises(ZeroDivisionError):
            embedder.take(wait=True)
    assert embedder.take(wait=True) is None
    embedder.submit(frame("red", 2.0))
    assert embedder.take(wait=True) is not None
