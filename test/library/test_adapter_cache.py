from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_adapter, random_network, save_unlisted

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_cache import AdapterCache
from semla_ros.library.adapter_folder import WEIGHTS, AdapterFolder
from semla_ros.modeling.lora import Adapter

NETWORK = random_network()
NAMES = "a", "b", "c"
MIB = 2**20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        save_unlisted(random_adapter(name, NETWORK, seed=seed), Statistics(np.zeros(8)), tmp_path)
    return tmp_path


def opened(folder: Path, budget: int = 512 * MIB) -> AdapterCache:
    folders = {path.name: AdapterFolder(path) for path in folder.iterdir()}
    return AdapterCache(folders, budget, torch.device("cpu"), torch.float32)


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s until {what}"
        time.sleep(0.001)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], threading.Event]]:
    """Names of the adapters whose reading has begun, and an event that lets all readings go on."""
    begun: list[str] = []
    go_on = threading.Event()
    load = AdapterFolder.load

    def slow_load(adapter: AdapterFolder, device: torch.device, dtype: torch.dtype) -> Adapter:
        begun.append(adapter.name)
        assert go_on.wait(60), "nobody let the reading go on for 60 s"
        return load(adapter, device, dtype)

    monkeypatch.setattr(AdapterFolder, "load", slow_load)
    yield begun, go_on
    go_on.set()


def test_an_adapter_is_read_once(folder: Path) -> None:
    cache = opened(folder)
    first = cache.load("a")
    shutil.rmtree(folder / "a")
    assert cache.load("a") is first


def test_the_least_recently_used_adapter_is_dropped_when_the_budget_is_spent(folder: Path) -> None:
    size = opened(folder).load("a").nbytes
    cache = opened(folder, 2 * size)
    a, b = cache.load("a"), cache.load("b")
    assert cache.load("a") is a
    cache.load("c")
    assert cache.names == ("a", "c")
    assert cache.load("a") is a
    assert cache.load("b") is not b


def test_one_adapter_stays_however_small_the_budget(folder: Path) -> None:
    cache = opened(folder, budget=1)
    assert cache.load("a") is cache.load("a")
    cache.load("b")
    assert cache.names == ("b",)


def test_a_prefetched_adapter_is_in_memory_without_its_file(folder: Path) -> None:
    cache = opened(folder)
    cache.prefetch(["a", "b"])
    wait_until(lambda: set(cache.names) == {"a", "b"}, "a and b are in memory")
    shutil.rmtree(folder)
    assert (cache.load("b").name, cache.load("a").name) == ("b", "a")


def test_a_failed_prefetch_is_raised_by_load_and_forgotten_when_the_file_is_whole_again(folder: Path) -> None:
    cache, file = opened(folder), folder / "a" / WEIGHTS
    content = file.read_bytes()
    file.write_bytes(b"cut")
    cache.prefetch(["a", "b"])
    wait_until(lambda: "b" in cache.names, "b, queued behind a, is in memory")
    with pytest.raises(AdapterError, match=r"unreadable adapter.*a/adapter_model"):
        cache.load("a")
    file.write_bytes(content)
    assert cache.load("a").name == "a"


def test_adapters_under_way_are_queued_only_once(folder: Path, reads: tuple[list[str], threading.Event]) -> None:
    cache, (begun, go_on) = opened(folder), reads
    for _ in range(1000):
        cache.prefetch(["a", "b"])
    assert len(cache._pending) == 2
    go_on.set()
    wait_until(lambda: set(cache.names) == {"a", "b"}, "a and b are in memory")
    cache.prefetch(["c", "a"])
    wait_until(lambda: "c" in cache.names, "c is in memory")
    assert begun == ["a", "b", "c"]
    wait_until(lambda: not cache._pending, "nothing is queued")


def test_an_adapter_in_memory_is_returned_while_another_one_is_read(
    folder: Path, reads: tuple[list[str], threading.Event]
) -> None:
    cache, (begun, go_on) = opened(folder), reads
    go_on.set()
    a = cache.load("a")
    go_on.clear()
    cache.prefetch(["b"])
    wait_until(lambda: begun == ["a", "b"], "the reading of b begins")
    assert cache.load("a") is a
    assert cache.names == ("a",)
    assert not go_on.is_set()


def test_load_waits_for_the_reading_under_way_instead_of_reading_twice(
    folder: Path, reads: tuple[list[str], threading.Event]
) -> None:
    cache, (begun, go_on) = opened(folder), reads
    cache.prefetch(["a"])
    wait_until(lambda: begun == ["a"], "the reading of a begins")
    threading.Timer(0.05, go_on.set).start()
    assert cache.load("a").name == "a"
    assert begun == ["a"]


def test_load_reads_an_adapter_that_waits_in_the_queue_itself(
    folder: Path, reads: tuple[list[str], threading.Event]
) -> None:
    cache, (begun, go_on) = opened(folder), reads
    cache.prefetch(["a", "b"])
    wait_until(lambda: begun == ["a"], "the reading of a begins")
    threading.Timer(0.05, go_on.set).start()
    assert cache.load("b").name == "b"
    wait_until(lambda: "a" in cache.names, "a is in memory")
    assert sorted(begun) == ["a", "b"]
