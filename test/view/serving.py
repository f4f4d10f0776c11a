"""A source whose content the tests decide, and the servers around it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from live.process import until

from semla_ros.images.classes import class_table
from semla_ros.topics.domain import DomainSample
from semla_ros.view.access import Access
from semla_ros.view.history import History
from semla_ros.view.run import serve
from semla_ros.view.scene import Scene
from semla_ros.view.source import Notice, ViewError

CLASSES = class_table(("road", "sky", "car"))
SECOND = 1_000_000_000


def scene(seconds: float = 1.0, height: int = 48, width: int = 64) -> Scene:
    """Two thirds road and one third sky."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 3] = 1
    return Scene(round(seconds * SECOND), rgb, labels, np.full((height, width), 153, np.uint8), CLASSES)


def sample(seconds: float, *, swaps: int = 1, name: str = "day", **changes: Any) -> DomainSample:
    """A domain state with one adapter."""
    fields = {"distance": 3.0, "upper_threshold": 8.0, "lower_threshold": 6.0, "support": 0.2} | changes
    own = {"out_of_distribution": False, "frozen": False, "error": ""} | {
        key: fields.pop(key) for key in ("out_of_distribution", "frozen", "error") if key in fields
    }
    return DomainSample(round(seconds * SECOND), ((name, 1.0, 5.0),), swaps=swaps, **fields, **own)


class FakeSource:
    """Stands in for a node. Actions are recorded; ``fusion.k`` takes numbers of at least 0."""

    def __init__(self) -> None:
        self.title, self.history = "/semla", History()
        self.shown: Scene | None = scene()
        self.told: list[Notice] = []
        self.done: list[tuple[str, Any]] = []
        self.values: dict[str, Any] = {"fusion.k": 5, "segmenter.classes": ["road", "sky"], "fusion.temperature": 0.05}
        self.watched: list[bool] = []
        self.changed: dict[str, Any] = {}
        self.history.add(sample(1))

    def watch(self, is_watched: bool) -> None:
        self.watched.append(is_watched)

    def newest(self) -> Scene | None:
        return self.shown

    def notices(self) -> list[Notice]:
        return self.told

    def status(self) -> dict[str, Any]:
        newest = self.history.newest
        return {
            "title": self.title,
            "classes": [[each.id, each.name, list(each.color)] for each in CLASSES],
            "domain": newest.as_json() if newest else None,
            "figures": {"fps": 9.8, "latency_ms": 85.0, "latency_p95_ms": 120.0, "received": 40, "dropped": 4},
            "actions": ["freeze", "reset", "reload_library"],
        }

    def act(self, action: str, value: Any = None) -> str:
        if action not in ("freeze", "reset", "reload_library"):
            raise ViewError("no such action", got=action)
        self.done.append((action, value))
        if action == "reload_library":
            raise ViewError("the node refused reload_library", hint="adapter is truncated")
        return "the mixture is held"

    def parameters(self, names: Any = ()) -> dict[str, Any]:
        return {name: self.values[name] for name in names or self.values}

    def changed_parameters(self) -> dict[str, Any]:
        changed, self.changed = self.changed, {}
        return changed

    def set_parameters(self, values: dict[str, Any]) -> None:
        if values.get("fusion.k", 0) < 0:
            raise ViewError("parameter refused", where="fusion.k", hint="setting out of range")
        self.values |= values


@contextmanager
def serving(source: Any, host: str = "127.0.0.1", token: str | None = None, port: int = 0) -> Iterator[tuple[str, str]]:
    """Serves a source in a thread, by default on a free port; yields the addresses of the page and for Foxglove."""
    addresses: list[tuple[str, str]] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def run() -> None:
        try:
            serve(source, Access(host, token), port, stop.is_set, lambda *both: addresses.append(both))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        until(lambda: addresses or failures, "the servers to listen")
        if failures:
            raise failures[0]
        yield addresses[0]
    finally:
        stop.set()
        thread.join(60)
