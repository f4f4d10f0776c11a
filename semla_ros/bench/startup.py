"""How long the node takes from the start of its process until it is active, beside ``import torch`` alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from semla_ros.bench.processes import ACTIVE, Process
from semla_ros.node.network import local_network
from semla_ros.progress import ProgressBar

FACTOR, EXTRA_S = 1.5, 1.5  # allowed: this many times "import torch", and so many seconds


@dataclass(frozen=True)
class Startup:
    """Medians of runs that alternate.

    Attributes:
        active_s: From the start of the process to the node's message that it is active.
        import_torch_s: A process that does nothing but ``import torch``.
        allowed_s: 1.5 times ``import_torch_s`` plus 1.5 s.
        ratio: ``active_s`` divided by ``import_torch_s``.
        met: Whether ``active_s`` is within what is allowed.
        active_runs_s: Each run of the node.
        import_torch_runs_s: Each run of ``import torch``.
    """

    active_s: float
    import_torch_s: float
    allowed_s: float
    ratio: float
    met: bool
    active_runs_s: tuple[float, ...]
    import_torch_runs_s: tuple[float, ...]


def startup(settings: Sequence[str], repeats: int) -> Startup:
    """Starts both processes in turn; a first run of each, which fills the caches of the disk, does not count.

    Args:
        settings: Settings of the node, ``KEY:=VALUE`` each.
        repeats: Number of runs that count.

    Raises:
        BenchError: The node did not become active.
    """
    nodes, torches = [], []
    for _ in ProgressBar(range(repeats + 1), desc="start-up"):
        torches.append(_import_torch())
        nodes.append(_activate(settings))
    return compared(nodes[1:], torches[1:])


def compared(nodes: Sequence[float], torches: Sequence[float]) -> Startup:
    """Compares the times of both processes, seconds each."""
    active_s, torch_s = median(nodes), median(torches)
    allowed_s = FACTOR * torch_s + EXTRA_S
    return Startup(
        active_s, torch_s, allowed_s, active_s / torch_s, active_s <= allowed_s, tuple(nodes), tuple(torches)
    )


def _import_torch() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - start


def _activate(settings: Sequence[str]) -> float:
    given = [word for each in settings for word in ("-p", each)]
    start = time.perf_counter()
    network = local_network()
    with Process(["semla_ros.node.main", "--ros-args", *given], network) as node:
        node.wait_for(ACTIVE)
        return time.perf_counter() - start
