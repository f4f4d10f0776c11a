"""Videos: whatever FFmpeg reads."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from semla_ros.errors import RecordingError
from semla_ros.images.frame import Frame
from semla_ros.recordings.recording import Readings, Recording

FRAME_ID = "camera"


class Video(Recording):
    """A video file; stamps count from its beginning."""

    kind = "video"

    def __init__(self, path: Path) -> None:
        """Looks into the file.

        Raises:
            RecordingError: No video, or one without images.
        """
        with _opened(path) as container:
            super().__init__(path, frame_count=container.streams.video[0].frames or None)

    def _images(self) -> Readings[Frame]:
        with _opened(self.path) as container:
            start = container.streams.video[0].start_time or 0
            for packet in container.demux(video=0):
                try:
                    images = packet.decode()
                except av.FFmpegError as error:
                    yield partial(_give_up, error)
                else:
                    yield from (partial(_frame, image, start) for image in images)


def _opened(path: Path) -> Any:
    """The open container.

    Raises:
        RecordingError: FFmpeg cannot read it, or finds no images in it.
    """
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})  # a playlist fetches nothing
    except av.FFmpegError as error:
        expected = "a bag (.mcap, .db3, .bag or a folder), a video, a image or a folder of images"
        raise RecordingError("unreadable recording", where=path, got=error.strerror, expected=expected) from error
    if not container.streams.video:
        container.close()
        raise RecordingError("no images in it", where=path)
    return container


def _frame(image: Any, start: int) -> Frame:
    if image.is_corrupt:
        raise RecordingError("damaged image")
    if image.pts is None:
        raise RecordingError("image without a time")
    rgb = image.to_ndarray(format="rgb24")
    upright = np.ascontiguousarray(np.rot90(rgb, image.rotation // 90))  # phones note how they were held
    return Frame(upright, round((image.pts - start) * image.time_base * 1_000_000_000), FRAME_ID)


def _give_up(error: av.FFmpegError) -> Frame:
    raise RecordingError("undecodable data", got=error.strerror) from error
