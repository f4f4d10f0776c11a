"""The soak test on the live node: the real process, its images, masks, parameters and services over DDS."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.bench.processes import ACTIVE, LIMIT_S, Process
from semla_ros.bench.stress import SAMPLES, Samples, Soak
from semla_ros.node.command_line import parameter_arguments
from semla_ros.node.network import local_network
from semla_ros.progress import ProgressBar

CHANGE_EVERY, RELOAD_EVERY = 90, 360  # frames


def live_soak(
    images: list[NDArray[np.uint8]], frames: int, every: int, settings: Mapping[str, Any],
    change_every: int = CHANGE_EVERY, reload_every: int = RELOAD_EVERY,
) -> Soak:  # fmt: skip
    """Runs the node until it has published so many masks, and samples what it takes of the machine meanwhile.

    Args:
        images: One image (H, W, 3) uint8 per domain; the domains are far apart.
        frames: Number of masks to wait for; the next frame is sent when a mask has come.
        every: Frames between two changes of the domain.
        settings: Parameters of the node, which bring a swap at each change.
        change_every: Frames between two changes of a parameter.
        reload_every: Frames between two calls of ``~/reload_library``.

    Raises:
        BenchError: The node or the camera ended, or masks stopped coming.
    """
    given = parameter_arguments(settings)
    network = local_network()
    with tempfile.TemporaryDirectory(prefix="semla_bench_") as folder:
        file = Path(folder, "images.npy")
        np.save(file, np.array(images))
        with Process(["semla_ros.node.main", "--ros-args", *given], network) as node:
            node.wait_for(ACTIVE)
            counts = map(str, (frames, every, change_every, reload_every))
            with Process(["semla_ros.bench.camera", *counts, str(file), "0"], network) as camera:
                return watched(node, camera, frames)


def watched(node: Process, camera: Process, frames: int) -> Soak:
    """Takes samples of the node at even distances of masks, until the last one.

    Args:
        node: The node.
        camera: Prints the number of masks and swaps after each mask, and ends after the last one.
        frames: Number of masks to wait for.

    Raises:
        BenchError: The node or the camera ended, or masks stopped coming.
    """
    step, seen = max(1, frames // SAMPLES), {"masks": 0, "swaps": 0, "changes": 0, "reloads": 0}
    samples = Samples(node.pid)
    changed_s = time.monotonic()
    with ProgressBar(total=frames, desc="soak, live") as bar:
        while seen["masks"] < frames:
            time.sleep(0.05)
            ended = [process for process in (node, camera) if process.ended]  # what they printed before it is read now
            line = camera.log.strip().rpartition("\n")[2]
            newest = json.loads(line) if line.startswith("{") and line.endswith("}") else seen
            if newest["masks"] > seen["masks"]:
                bar.update(newest["masks"] - seen["masks"])
                seen, changed_s = newest, time.monotonic()
            if seen["masks"] >= step * len(samples.resident_mib) + 1:
                samples.take()
            if ended and seen["masks"] < frames:
                raise ended[0].failure("it ended", f"{frames} masks")
            if time.monotonic() > changed_s + LIMIT_S:
                raise node.failure(f"no mask for {LIMIT_S:.0f} s", f"{frames} masks")
    return samples.soak(seen["masks"], seen["swaps"], seen["changes"], seen["reloads"])
