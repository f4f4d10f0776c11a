"""How late frames of the live node are while it reads its library again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.bench.camera import NEVER
from semla_ros.bench.processes import ACTIVE, LIMIT_S, Process
from semla_ros.node.command_line import parameter_arguments
from semla_ros.node.network import local_network
from semla_ros.progress import ProgressBar

EVERY_S = 6.0  # between two reloads


@dataclass(frozen=True)
class Reloads:
    """How much later than usual masks are, in frame periods; usual is the median time from the frame to its mask.

    Attributes:
        rate_hz: Frame rate, frames per second.
        frames: Number of masks that count; those before the first reload do not.
        reloads: Number of times that the library was read again.
        reload_s: Median time that a reload takes, seconds.
        median_ms: Median time from a frame to its mask, milliseconds.
        worst_at_reload: Lateness of the latest mask from the call of a reload until a second after its answer.
        worst_elsewhere: Lateness of the latest of the others.
        late_at_reload: Number of masks at a reload that were late by more than a period.
        late_elsewhere: Number of others that were.
        dropped_at_reload: Number of frames without a mask at a reload: a newer one came while they were waiting.
        dropped_elsewhere: Number of others without a mask.
    """

    rate_hz: float
    frames: int
    reloads: int
    reload_s: float
    median_ms: float
    worst_at_reload: float
    worst_elsewhere: float
    late_at_reload: int
    late_elsewhere: int
    dropped_at_reload: int
    dropped_elsewhere: int


def reloads(
    image: NDArray[np.uint8], count: int, rate_hz: float, settings: Mapping[str, Any], every_s: float = EVERY_S
) -> Reloads:
    """Runs the live node with a camera of a steady rate, and calls ``~/reload_library`` every few seconds.

    Args:
        image: The image (H, W, 3) uint8 that the camera shows.
        count: Number of reloads.
        rate_hz: Frame rate, frames per second; the node must be able to keep up with it.
        settings: Parameters of the node.
        every_s: Time between two reloads, seconds.

    Raises:
        BenchError: The node or the camera ended, masks stopped coming, or the node refused a reload.
    """
    every = max(1, round(every_s * rate_hz))
    frames = round((count + 0.5) * every)
    given = parameter_arguments(settings)
    network = local_network()
    with tempfile.TemporaryDirectory(prefix="semla_bench_") as folder:
        file = Path(folder, "images.npy")
        np.save(file, image[None])
        with Process(["semla_ros.node.main", "--ros-args", *given], network) as node:
            node.wait_for(ACTIVE)
            numbers = map(str, (frames, NEVER, NEVER, every))
            with Process(["semla_ros.bench.camera", *numbers, str(file), str(1 / rate_hz)], network) as camera:
                for reload in ProgressBar(range(count), desc="reloads"):
                    camera.wait_for(f'{{"masks": {(reload + 1) * every},', LIMIT_S, poll_s=1.0)
                camera.result()
                masks = [json.loads(line) for line in camera.log.splitlines() if line.startswith("{")]
            if (done := masks[-1]["reloads"]) < count:
                raise node.failure(f"{done} reloads", f"{count} reloads")
    return summary(masks, rate_hz)


def summary(masks: Sequence[Mapping[str, Any]], rate_hz: float) -> Reloads:
    """Sums up what the camera prints, see `semla_ros.bench.camera`."""
    first = next(index for index, mask in enumerate(masks) if mask["at_reload"])
    counted, before = masks[first:], masks[max(0, first - 1)]
    late = rate_hz * 1e-3 * np.array([mask["latency_ms"] for mask in counted])
    late -= np.median(late)
    at = np.array([mask["at_reload"] for mask in counted])
    dropped = np.diff([before["dropped"], *(mask["dropped"] for mask in counted)])
    took = {mask["reloads"]: mask["reload_s"] for mask in counted if mask["reload_s"]}
    return Reloads(
        rate_hz, len(counted), counted[-1]["reloads"], median(took.values()),
        median(mask["latency_ms"] for mask in counted), float(late[at].max()), float(late[~at].max(initial=0.0)),
        int((late[at] > 1).sum()), int((late[~at] > 1).sum()), int(dropped[at].sum()), int(dropped[~at].sum()),
    )  # fmt: skip
