"""Several cameras on one node, beside a node for each camera: memory and frames per second."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.bench.camera import NEVER
from semla_ros.bench.processes import ACTIVE, Process
from semla_ros.machine import resident_mib
from semla_ros.node.command_line import parameter_arguments
from semla_ros.node.network import local_network
from semla_ros.progress import ProgressBar

WARM_UP = 3  # masks of each camera before the measurement
PERIOD_S = 1 / 15  # between two images of a camera
LIMIT_S = 600.0


@dataclass(frozen=True)
class Nodes:
    """Figures of one arrangement.

    Attributes:
        fps: Masks per second of all cameras together.
        slowest_fps: Masks per second of the camera that got the fewest.
        memory_mib: Resident memory of all nodes together.
    """

    fps: float
    slowest_fps: float
    memory_mib: float


@dataclass(frozen=True)
class Sharing:
    """One node for all cameras, beside a node for each. Each camera shows one image, of another domain than the last.

    Attributes:
        cameras: Number of cameras.
        one_node: All cameras on one node, with one domain, in turn.
        one_pass: All cameras on one node, with one domain, their waiting images in one pass.
        domain_each: All cameras on one node, with a domain each: the weights change at every turn.
        node_each: A node for each camera.
        fps_ratio: Frames per second of the one node over those of the many.
        memory_ratio: Memory of the one node over that of the many.
    """

    cameras: int
    one_node: Nodes
    one_pass: Nodes
    domain_each: Nodes
    node_each: Nodes
    fps_ratio: float
    memory_ratio: float


def sharing(cameras: int, seconds: float, images: list[NDArray[np.uint8]], settings: Mapping[str, Any]) -> Sharing:
    """Measures the arrangements, one after the other. Each camera sends more images than can be segmented.

    Args:
        cameras: Number of cameras.
        seconds: Duration of each measurement; it lasts longer where a camera has got no mask by then.
        images: Images (H, W, 3) uint8 of different domains; the first camera shows the first one.
        settings: Parameters of the nodes.

    Raises:
        BenchError: A node or a camera ended, or its masks did not come.
    """
    names = [f"camera_{index}" for index in range(cameras)]
    given = parameter_arguments(settings)
    with tempfile.TemporaryDirectory(prefix="semla_bench_") as folder, ProgressBar(total=4, desc="cameras") as bar:
        for index, name in enumerate(names):
            np.save(Path(folder, f"{name}.npy"), images[index % len(images)][None])
        shared = [*given, "-p", f"cameras:={json.dumps(names)}"]
        nodes = (
            [shared],
            [[*shared, "-p", f"camera_batch:={cameras}"]],
            [[*shared, "-p", "domain_per_camera:=true"]],
            [[*given, "-r", f"__ns:=/{name}"] for name in names],
        )
        measured = []
        for arguments in nodes:
            measured.append(_measured(arguments, names, Path(folder), seconds))
            bar.update()
    one, one_pass, domain_each, each = measured
    return Sharing(cameras, one, one_pass, domain_each, each, one.fps / each.fps, one.memory_mib / each.memory_mib)


def _measured(nodes: Sequence[Sequence[str]], names: Sequence[str], folder: Path, seconds: float) -> Nodes:
    """Starts nodes with these ROS arguments and a camera for each name, and counts the masks."""
    network = local_network()
    with ExitStack() as stack:
        started = [
            stack.enter_context(Process(["semla_ros.node.main", "--ros-args", *arguments], network))
            for arguments in nodes
        ]
        for node in started:
            node.wait_for(ACTIVE)
        cameras = [stack.enter_context(Process(_camera(name, folder), network)) for name in names]
        for camera in cameras:
            camera.wait_for(f'{{"masks": {WARM_UP},', LIMIT_S)
        before, begin = [_masks(camera) for camera in cameras], time.monotonic()
        time.sleep(seconds)
        for camera, count in zip(cameras, before, strict=True):
            camera.wait_for(f'{{"masks": {count + 1},', LIMIT_S)
        counts = [_masks(camera) - count for camera, count in zip(cameras, before, strict=True)]
        elapsed = time.monotonic() - begin
        memory = sum(resident_mib(node.pid) for node in started)
    return Nodes(sum(counts) / elapsed, min(counts) / elapsed, memory)


def _camera(name: str, folder: Path) -> list[str]:
    endless = [str(NEVER), "10", str(NEVER), str(NEVER), str(folder / f"{name}.npy"), str(PERIOD_S)]
    return ["semla_ros.bench.camera", *endless, "--ros-args", "-r", f"__ns:=/{name}"]


def _masks(camera: Process) -> int:
    """Number of masks that have come to a camera, by its last whole line."""
    line = camera.log.rpartition("\n")[0].rpartition("\n")[2]
    return int(json.loads(line)["masks"])
