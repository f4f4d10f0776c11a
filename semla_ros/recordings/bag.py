"""ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from semla_ros.errors import ImageError, RecordingError, SemlaError
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.encodings import Labels, checked, pixels
from semla_ros.images.frame import Frame
from semla_ros.recordings.recording import Readings, Recording

DECODERS: dict[str, Callable[[Any], NDArray[np.uint8]]] = {
    "sensor_msgs/msg/Image": decode,
    "sensor_msgs/msg/CompressedImage": decode_compressed,
}
GROUND_TRUTH = "/camera/ground_truth"
MASK_ENCODINGS = ("mono8", "mono16", "8UC1", "16UC1")
STORAGES = {".mcap", ".db3"}  # of ROS 2


class Bag(Recording):
    """A bag's images of one topic, stamped by their headers; by the time of recording where a header has none."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Looks into the bag.

        Args:
            path: A .bag, .mcap or .db3 file, or the folder of a ROS 2 bag.
            topic: Image topic, with or without its leading slash; None takes the only camera's.

        Raises:
            RecordingError: Unreadable bag, no such image topic, or several cameras to choose from.
        """
        self.kind = "ros1 bag" if path.suffix == ".bag" else "ros2 bag"
        self._files = _files(path)
        with self._opened() as reader:
            topics = _image_topics(reader.connections)
            chosen = _only_camera(topics, path) if topic is None else _named(topic, topics, path)
        super().__init__(path, topic=chosen, frame_count=topics[chosen])

    def _images(self) -> Readings[Frame]:
        with closing(self._messages(self.topic)) as messages:
            for recorded_ns, kind, read in messages:
                yield partial(_frame, read, DECODERS[kind], recorded_ns)

    def _masks(self) -> Readings[tuple[int, Labels]]:
        with closing(self._messages(GROUND_TRUTH)) as messages:
            for recorded_ns, _, read in messages:
                yield partial(_mask, read, recorded_ns)

    def _messages(self, topic: str) -> Generator[tuple[int, str, Callable[[], Any]], None, None]:
        """Yields time of recording, type, and a function that reads the message, of a topic's messages."""
        with self._opened() as reader:
            connections = [connection for connection in reader.connections if connection.topic == topic]
            if connections:  # to rosbags, none means all
                for connection, recorded_ns, data in reader.messages(connections):
                    kind = connection.msgtype
                    yield recorded_ns, kind, partial(_deserialized, reader, data, kind)

    @contextmanager
    def _opened(self) -> Iterator[AnyReader]:
        """The open reader.

        Raises:
            RecordingError: The bag, or a part of it, is damaged or of an unknown format.
        """
        try:
            with AnyReader(self._files, default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
                yield reader
        except SemlaError:
            raise
        except Exception as error:  # a damaged bag can trip its reader anywhere
            raise RecordingError(
                "unreadable bag", where=self._files[0], got=str(error) or type(error).__name__
            ) from error


def _files(path: Path) -> list[Path]:
    """What the reader is given: a recorder that crashed leaves its folder without metadata, but with files to read."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        return sorted(file for file in path.iterdir() if file.suffix in STORAGES)
    return [path]


def _image_topics(connections: Iterable[Connection]) -> dict[str, int]:
    """Number of messages of each image topic."""
    counts: dict[str, int] = {}
    for connection in connections:
        if connection.msgtype in DECODERS:
            counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
    return counts


def _only_camera(topics: dict[str, int], path: Path) -> str:
    """The one camera's topic, raw rather than compressed."""
    filled = [name for name, count in topics.items() if count and not name.endswith((GROUND_TRUTH, "/compressedDepth"))]
    cameras = sorted(name for name in filled if name.removesuffix("/compressed") not in set(filled) - {name})
    if not cameras:
        raise RecordingError("no images in it", where=path, expected=" or ".join(DECODERS))
    if len(cameras) > 1:
        raise RecordingError("several image topics", where=path, got=_listed(topics), hint="Name one of them.")
    return cameras[0]


def _named(topic: str, topics: dict[str, int], path: Path) -> str:
    known = {name.strip("/"): name for name in topics}
    wanted = topic.strip("/")
    for name in (wanted, f"{wanted}/compressed"):  # a camera may have nothing but compressed images
        if name in known:
            return known[name]
    raise RecordingError("no such image topic", where=path, got=topic, expected=f"one of {_listed(topics)}")


def _listed(topics: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(topics.items())) or "none"


def _deserialized(reader: AnyReader, data: bytes, kind: str) -> Any:
    try:
        return reader.deserialize(data, kind)
    except Exception as error:  # generated code: truncated bytes may end in any exception
        raise RecordingError("undecodable message", got=f"{len(data)} bytes", expected=kind) from error


def _frame(read: Callable[[], Any], decoder: Callable[[Any], NDArray[np.uint8]], recorded_ns: int) -> Frame:
    message = read()
    return Frame(decoder(message), _stamp(message, recorded_ns), message.header.frame_id)


def _mask(read: Callable[[], Any], recorded_ns: int) -> tuple[int, Labels]:
    message = read()
    encoding = checked(message)
    if message.encoding not in MASK_ENCODINGS:
        raise ImageError("no label image", got=message.encoding, expected=" or ".join(MASK_ENCODINGS))
    return _stamp(message, recorded_ns), pixels(message, encoding)


def _stamp(message: Any, recorded_ns: int) -> int:
    """Nanoseconds of the header; of the recording where the header holds none."""
    stamp = message.header.stamp
    if stamp.sec < 0:
        raise RecordingError("absurd stamp", got=f"{stamp.sec} s", expected="0 s or more")
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or recorded_ns
