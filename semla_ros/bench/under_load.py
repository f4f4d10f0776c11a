"""Frames per second on an idle machine, and beside processes that keep its cores busy, by how threads wait.

OpenMP's threads spin while they wait, which is fast on idle cores and very slow on cores that others use. This compares
what the node does with the fixed settings that the environment offers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

from semla_ros.bench.processes import Process, load
from semla_ros.progress import ProgressBar

OURS = "ours"
DEFAULT_SPINS = "300000"  # libgomp's own
# Name to environment and settings. "ours" is what the node does; the others are fixed.
POLICIES: dict[str, tuple[dict[str, str | None], dict[str, Any]]] = {
    OURS: ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}, {}),
    "default": ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": DEFAULT_SPINS}, {}),
    "passive": ({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": None}, {}),
    "short_spin": ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": "300"}, {}),
    "one_thread": ({"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None}, {"model.threads": 1}),
}


@dataclass(frozen=True)
class UnderLoad:
    """Speed by policy.

    Attributes:
        processes: Number of processes that compute beside the frames in the loaded runs.
        idle_fps: Policy to frames per second without them: the median of the runs.
        loaded_fps: Policy to frames per second beside them.
        idle_ms: Policy to milliseconds per frame without them: the median of all frames.
        loaded_ms: Policy to milliseconds per frame beside them.
        idle_over_default: Our frames per second over the default's, without load; the aim is 0.97 or more.
        loaded_over_best: Our frames per second over those of the best fixed policy, under load; the aim is 0.8 or more.
    """

    processes: int
    idle_fps: dict[str, float]
    loaded_fps: dict[str, float]
    idle_ms: dict[str, float]
    loaded_ms: dict[str, float]
    idle_over_default: float
    loaded_over_best: float


def under_load(
    settings: Mapping[str, Any], rounds: int, seconds: float, processes: int, warm_up_s: float = 5.0
) -> UnderLoad:
    """Measures all policies in turn, several rounds of them, each run in a process of its own.

    Args:
        settings: Settings of the pipeline.
        rounds: Runs per policy, idle and loaded.
        seconds: Length of a run.
        processes: Number of processes that compute beside the frames in the loaded runs.
        warm_up_s: Seconds before each run that do not count; our policy adapts to the load meanwhile.

    Raises:
        BenchError: A run failed.
    """
    frames: defaultdict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    with ProgressBar(total=2 * rounds * len(POLICIES), desc="under load") as bar:
        for _ in range(rounds):
            for loaded in (False, True):
                for name in POLICIES:
                    with load(processes) if loaded else nullcontext():
                        frames[name, loaded].append(_run(name, settings, seconds, warm_up_s))
                    bar.update()
    return summary(frames, processes)


def summary(frames: Mapping[tuple[str, bool], list[list[float]]], processes: int) -> UnderLoad:
    """Sums up (policy, whether loaded) to runs of milliseconds per frame."""
    names = [name for name, loaded in frames if not loaded]
    fps, ms = (
        {key: median(1e3 * len(run) / sum(run) for run in runs) for key, runs in frames.items()},
        {key: median(time for run in runs for time in run) for key, runs in frames.items()},
    )
    fixed = [fps[name, True] for name in names if name != OURS]
    return UnderLoad(
        processes,
        {name: fps[name, False] for name in names}, {name: fps[name, True] for name in names},
        {name: ms[name, False] for name in names}, {name: ms[name, True] for name in names},
        fps[OURS, False] / fps["default", False], fps[OURS, True] / max(fixed),
    )  # fmt: skip


def _run(name: str, settings: Mapping[str, Any], seconds: float, warm_up_s: float) -> list[float]:
    environment, own = POLICIES[name]
    wanted = {
        "settings": {**settings, **own}, "seconds": seconds, "warm_up_s": warm_up_s, "fixed": name != OURS,
    }  # fmt: skip
    with Process(["semla_ros.bench.frame_loop", json.dumps(wanted)], environment) as process:
        times: list[float] = json.loads(process.result())
    return times
