"""Video files in any format that FFmpeg reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import av
import numpy as np

from semla_ros.errors import RecordingError
from semla_ros.images.frame import Frame
from semla_ros.recordings.recording import Readings, Recording

FRAME_ID = "camera"


class Video(Recording):
    """A video file. Stamps start at 0 with its first image."""

    kind = "video"

    def __init__(self, path: Path) -> None:
        """Reads the header of the file.

        Raises:
            RecordingError: The file is no video, or holds no images.
        """
        with _opened(path) as container:
            super().__init__(path, frame_count=container.streams.video[0].frames or None)

    def _images(self) -> Readings[Frame]:
        with _opened(self.path) as container:
            stream = container.streams.video[0]
            start = stream.start_time or 0
            packets, end = 0, 0
            for packet in _packets(container):
                if packet.size:  # the last packet is empty
                    packets, end = packets + 1, max(end, (packet.pts or 0) + (packet.duration or 0))
                try:
                    images = packet.decode()
                except av.FFmpegError as error:
                    yield partial(_give_up, error)
                else:
                    yield from (partial(_frame, image, start) for image in images)
            _check_complete(stream, packets, end)


def _packets(container: Any) -> Iterator[Any]:
    """Yields the packets of the first video stream; the last one is empty.

    Raises:
        RecordingError: FFmpeg cannot read on.
    """
    try:
        with suppress(IndexError):  # PyAV's, after the last packet of a file whose damage looks like one more stream
            yield from container.demux(video=0)
    except av.FFmpegError as error:
        raise RecordingError("unreadable data", got=error.strerror) from error


def _check_complete(stream: Any, packets: int, end: int) -> None:
    """Compares what was read with the header, because FFmpeg ends a truncated file without an error.

    Args:
        stream: Video stream.
        packets: Number of packets read. A decoder may leave out images on purpose, so images are not counted.
        end: End of the last packet, in units of the stream.

    Raises:
        RecordingError: The file ends before its header says.
    """
    if packets < stream.frames:
        raise RecordingError("file ends early", got=f"{packets} images", expected=stream.frames)
    announced_s = _seconds(stream.metadata.get("DURATION", ""))  # of Matroska, which has no number of images
    end_s = float(end * stream.time_base)
    if end_s + 2 / float(stream.average_rate or 10) < announced_s:
        raise RecordingError("file ends early", got=f"{end_s:.2f} s", expected=f"{announced_s:.2f} s")


def _seconds(clock: str) -> float:
    """Seconds of a time such as "00:01:04.750"; 0 if it is none."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", clock.strip())
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else 0.0


def _opened(path: Path) -> Any:
    """The open container.

    Raises:
        RecordingError: FFmpeg cannot read it, or finds no images in it.
    """
    try:
        options = {"protocol_whitelist": "file"}  # a playlist downloads nothing
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        expected = "a bag (.mcap, .db3, .bag or a folder), a video, an image or a folder of images"
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
    try:
        rgb = image.to_ndarray(format="rgb24")
    except av.FFmpegError as error:  # damage may change the format of the pixels to one that cannot be converted
        _give_up(error)
    upright = np.ascontiguousarray(np.rot90(rgb, image.rotation // 90))  # phones store their orientation
    return Frame(upright, round((image.pts - start) * image.time_base * 1_000_000_000), FRAME_ID)


def _give_up(error: av.FFmpegError) -> NoReturn:
    raise RecordingError("undecodable data", got=error.strerror) from error
