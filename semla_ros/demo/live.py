"""The live part of the demo: camera, node and recorder as processes that communicate over DDS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from semla_ros.demo.processes import Process, wait
from semla_ros.demo.topics import IMAGE, NAMESPACE
from semla_ros.node.command_line import parameter_arguments
from semla_ros.node.network import local_network

READY_S, SETTLE_S, DRIVE_S = 300.0, 60.0, 3600.0  # generous: other programs may use the same cores
QUEUE = 100  # camera images that wait for a node without a core: all of them are to be accounted for


def perform(
    drive: Path,
    recording: Path,
    logs: Path,
    settings: Mapping[str, Any],
    on_progress: Callable[[int], None] = lambda masks: None,
    ready_s: float = READY_S,
) -> int:
    """Plays a drive to the live node and records its output.

    Args:
        drive: Bag to play.
        recording: Bag to write.
        logs: Folder for the logs of the processes.
        settings: Parameters of the node by name.
        on_progress: Called with the number of images so far that were recorded as masks or lost; with 0 when the node
            is ready.
        ready_s: Longest time that the node may need to load its models, seconds.

    Returns:
        Number of images sent.

    Raises:
        DemoError: The node, the camera or the recorder failed. The message contains the end of its log. All processes
            are ended.
    """
    logs.mkdir(parents=True, exist_ok=True)
    environment = local_network()

    def process(name: str, *command: str) -> Process:
        return Process(name, command, logs, environment)

    with (
        process("recorder", "semla_ros.demo.recorder", str(recording)) as recorder,
        process("node", "semla_ros.node.main", *_arguments(settings)) as node,
    ):
        if not wait(lambda: bool(recorder.says.get("ready")), ready_s, recorder, node):
            raise node.failure(f"was not ready within {ready_s:.0f} s")
        on_progress(0)

        def masks() -> int:
            says = recorder.says
            lost = sum(says["frames"].get(kind, 0) for kind in ("dropped", "failed"))
            on_progress(says["masks"] + lost)
            return int(says["masks"])

        with process("camera", "semla_ros.demo.player", str(drive)) as camera:
            wait(lambda: masks() >= 0 and camera.ended, DRIVE_S, node, recorder)
        sent = int(camera.says.get("sent", 0))
        wait(lambda: _accounted(recorder.says, masks(), sent), SETTLE_S, node, recorder)
    return sent


def _accounted(says: Mapping[str, Any], masks: int, sent: int) -> bool:
    """Whether each image led to a recorded mask or was counted by the node as dropped or failed."""
    frames = says["frames"]
    done = frames["segmented"] + frames["dropped"] + frames["failed"]
    return bool(sent == frames["received"] == done and masks == frames["segmented"])


def _arguments(settings: Mapping[str, Any]) -> list[str]:
    queue = f"qos_overrides.{IMAGE}.subscription.depth:={QUEUE}"
    return [
        "--ros-args",
        "-r",
        f"__ns:={NAMESPACE}",
        "-r",
        f"image:={IMAGE}",
        "-p",
        queue,
        *parameter_arguments(settings),
    ]
