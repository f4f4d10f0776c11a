"""Runs the servers around a source until the process receives a signal to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from semla_ros.config import NodeConfig
from semla_ros.errors import RecordingError
from semla_ros.recordings import Recording, is_bag, open_recording
from semla_ros.view.access import Access
from semla_ros.view.foxglove_server import FoxgloveServer
from semla_ros.view.player import Player
from semla_ros.view.results import NoResultsError, Results
from semla_ros.view.segmented import Segmented
from semla_ros.view.server import Server
from semla_ros.view.source import Source

LOOK_S = 0.03
Stopping = Callable[[], bool]


def open_player(
    path: Path, config: NodeConfig, topic: str | None = None, fps: float | None = None, images: Path | None = None
) -> Player:
    """Opens a recording: one of the node's outputs, or a camera's, which is segmented while it is shown.

    Args:
        path: Any recording that `semla_ros.recordings.open_recording` opens, or a bag with the node's masks.
        config: Settings of the pipeline that segments a camera's recording.
        topic: Image topic of ``images``; without those, of a bag whose images are segmented, even if the bag has masks,
            too. By default that of the only camera.
        fps: Frame rate of image files.
        images: Recording of the camera, for a bag with masks and without camera images.

    Raises:
        RecordingError: There is no such recording, it cannot be read, or an option is given that it does not have.
    """
    results = None if topic and images is None else _results(path, images, topic)
    if results is not None and fps is None:
        return Player(path.name, results)
    if images is not None:
        raise RecordingError("images are only for a bag with the node's masks", where=path, got=images)
    segmented = Segmented(open_recording(path, topic, fps), config)
    return Player(path.name, segmented, segmented.act)


def serve(source: Source, access: Access, port: int, stopping: Stopping, ready: Callable[[str, str], object]) -> None:
    """Serves the page and Foxglove.

    Args:
        source: What is shown.
        access: Who may connect.
        port: Port to listen on; 0 takes a free one.
        stopping: Returns whether to end.
        ready: Called with the addresses of the page and for Foxglove once both are served.

    Raises:
        ViewError: The port or the address cannot be used.
    """
    asyncio.run(_serve(source, access, port, stopping, ready))


async def _serve(
    source: Source, access: Access, port: int, stopping: Stopping, ready: Callable[[str, str], object]
) -> None:
    foxglove = FoxgloveServer(source)
    server = Server(source, foxglove, access, port)
    try:
        await server.start()
        ready(*server.addresses())
        while not stopping():
            source.watch(server.is_watched)
            await asyncio.to_thread(foxglove.update)
            await asyncio.sleep(LOOK_S)
    finally:
        await server.close()
        foxglove.close()


def _results(path: Path, images: Path | None, topic: str | None) -> Results | None:
    """The bag of the node's outputs; None where the recording is not one."""
    if not path.exists() or not is_bag(path):
        return None
    camera: Recording | None = open_recording(images, topic) if images else None
    try:
        return Results(path, camera)
    except NoResultsError:
        return None
