"""Recordings of a camera: bags, videos, images."""

from __future__ import annotations

from pathlib import Path

from semla_ros.errors import RecordingError
from semla_ros.recordings.bag import STORAGES, Bag
from semla_ros.recordings.image_folder import SUFFIXES, Images
from semla_ros.recordings.recording import OnError, Recording, with_ground_truth
from semla_ros.recordings.video import Video

__all__ = ["OnError", "Recording", "open_recording", "with_ground_truth"]


def open_recording(path: Path, topic: str | None = None, fps: float | None = None) -> Recording:
    """Opens a recording of whatever kind.

    Args:
        path: A ROS 2 bag (folder, .mcap or .db3), a ROS 1 .bag, a video, a folder of images, or a image.
        topic: Image topic of a bag; None takes the only camera's, raw rather than compressed.
        fps: Frame rate of a folder of images whose names are no times.

    Raises:
        RecordingError: No such path, nothing readable there, or no or several cameras to choose from.
    """
    if not path.exists():
        raise RecordingError("no such recording", where=path)
    if _is_bag(path):
        return Bag(path, topic)
    return Images(path, fps) if path.is_dir() or path.suffix.lower() in SUFFIXES else Video(path)


def _is_bag(path: Path) -> bool:
    """By its suffix; by what a folder holds: a bag among images is somebody's output."""
    if not path.is_dir():
        return path.suffix in STORAGES | {".bag"}
    suffixes = {file.suffix.lower() for file in path.iterdir()}
    return (path / "metadata.yaml").is_file() or bool(suffixes & STORAGES and not suffixes & SUFFIXES)
