"""Frames per second on an idle machine, and beside processes that keep its cores busy, by how threads wait.

OpenMP's threads spin while they wait, which is fast on idle cores and very slow on cores that others use. This compares
what the node does with the fixed settings that the environment offers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

from semla_ros.bench.frame_loop import FrameLoop
from semla_ros.bench.processes import load
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
        idle_fps: Policy to frames per second without them: the median of the turns.
        loaded_fps: Policy to frames per second beside them.
        idle_ms: Policy to milliseconds per frame without them: the median of all frames.
        loaded_ms: Policy to milliseconds per frame beside them.
        idle_over_default: Our frames per second over the default's, without load: the median of the rounds; the aim is
            0.97 or more.
        loaded_over_best: Our frames per second over those of the best fixed policy, under load: the median of the
            rounds; the aim is 0.8 or more.
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
    """Measures all policies in turn, a few seconds each, for several rounds.

    Each policy has a process of its own, which rests while it is not its turn. The speed of a shared machine changes
    from minute to minute; such changes reach all policies alike.

    Args:
        settings: Settings of the pipeline.
        rounds: Turns per policy, idle and loaded.
        seconds: Length of a turn.
        processes: Number of processes that compute beside the frames in the loaded turns.
        warm_up_s: Length of one more turn of each policy at the beginning, idle and loaded, which does not count.

    Raises:
        SemlaError: A pipeline cannot be built, or a frame cannot be segmented.
    """
    frames: defaultdict[tuple[str, bool], list[list[float]]] = defaultdict(list)
    with ProgressBar(total=2 * (1 + rounds) * len(POLICIES), desc="under load") as bar, ExitStack() as stack:
        loops = {
            name: stack.enter_context(FrameLoop(environment, {**settings, **own}, name != OURS))
            for name, (environment, own) in POLICIES.items()
        }
        for loaded in (False, True):
            with load(processes) if loaded else nullcontext():
                for turn in range(1 + rounds):
                    for name, loop in loops.items():
                        times = loop.run(seconds if turn else warm_up_s)
                        if turn:
                            frames[name, loaded].append(times)
                        bar.update()
    return summary(frames, processes)


def summary(frames: Mapping[tuple[str, bool], list[list[float]]], processes: int) -> UnderLoad:
    """Sums up (policy, whether loaded) to turns of milliseconds per frame."""
    names = [name for name, loaded in frames if not loaded]
    turns = {key: [1e3 * len(turn) / sum(turn) for turn in turns] for key, turns in frames.items()}
    fps = {key: median(speeds) for key, speeds in turns.items()}
    ms = {key: median(time for turn in turns for time in turn) for key, turns in frames.items()}
    best = max((name for name in names if name != OURS), key=lambda name: fps[name, True])
    return UnderLoad(
        processes,
        {name: fps[name, False] for name in names}, {name: fps[name, True] for name in names},
        {name: ms[name, False] for name in names}, {name: ms[name, True] for name in names},
        _ratio(turns[OURS, False], turns["default", False]), _ratio(turns[OURS, True], turns[best, True]),
    )  # fmt: skip


def _ratio(ours: list[float], other: list[float]) -> float:
    """The median of the ratios of the turns of one round."""
    return median(a / b for a, b in zip(ours, other, strict=True))
