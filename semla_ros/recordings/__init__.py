"""Recordings of a camera: bags, videos and image files."""

from __future__ import annotations

from pathlib import Path

from semla_ros.errors import RecordingError
from semla_ros.images.files import IMAGE_SUFFIXES
from semla_ros.recordings.bag import Bag
from semla_ros.recordings.bag_files import STORAGES
from semla_ros.recordings.image_folder import Images
from semla_ros.recordings.recording import FrameError, IncompleteError, OnError, Recording, with_ground_truth
from semla_ros.recordings.video import Video

__all__ = [
    "FrameError", "IncompleteError", "OnError", "Recording", "is_bag", "open_recording", "with_ground_truth",
]  # fmt: skip


def open_recording(path: Path, topic: str | None = None, fps: float | None = None) -> Recording:
    """Opens a recording of any supported kind.

    Args:
        path: A ROS 2 bag (folder, .mcap or .db3), a ROS 1 bag (.bag), a video, an image or a folder of images.
        topic: Image topic of a bag. By default that of the only camera, raw rather than compressed.
        fps: Frame rate, images per second, of image files whose names are not times. By default 10.

    Raises:
        RecordingError: The path does not exist or nothing there can be read, a bag has no or several cameras to choose
            from, or an option is given that this kind of recording does not have.
    """
    if not path.exists():
        raise RecordingError("no such recording", where=path)
    bag, images = is_bag(path), path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES
    if topic is not None and not bag:
        raise RecordingError("only a bag has topics", where=path, got=topic, hint="Leave the topic out.")
    if fps is not None and (bag or not images):
        raise RecordingError("a frame rate is only for image files", where=path, got=fps, hint="Leave it out.")
    if bag:
        return Bag(path, topic)
    return Images(path, fps) if images else Video(path)


def is_bag(path: Path) -> bool:
    """Returns whether a path is a bag by its suffix or content. A bag among images does not count: it is an output."""
    if not path.is_dir():
        return path.suffix in STORAGES | {".bag"}
    suffixes = {file.suffix.lower() for file in path.iterdir()}
    return (path / "metadata.yaml").is_file() or bool(suffixes & STORAGES and not suffixes & IMAGE_SUFFIXES)
