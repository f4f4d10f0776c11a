"""ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from heapq import merge
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1, rosbag2
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from semla_ros.errors import ImageError, RecordingError, SemlaError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import Labels
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.encodings import encoding_of, pixels
from semla_ros.images.frame import Frame
from semla_ros.recordings.recording import Readings, Recording

DECODERS: dict[str, Callable[[Any, BitDepth], NDArray[np.uint8]]] = {
    "sensor_msgs/msg/Image": decode,
    "sensor_msgs/msg/CompressedImage": decode_compressed,
}
GROUND_TRUTH = "/camera/ground_truth"
MASK_ENCODINGS = ("mono8", "mono16", "8UC1", "16UC1")
STORAGES = {".mcap", ".db3"}  # suffixes of ROS 2 bags
REPAIR = {
    ".mcap": "If the recorder was interrupted, 'mcap recover' restores what was written.",
    ".db3": "If the recorder was interrupted, 'ros2 bag reindex' rebuilds the metadata.",
    ".bag": "If the recorder was interrupted, 'rosbag reindex' restores what was written.",
}
# The types of images are the same in all bags, so the definitions inside a bag are not needed. rosbags' AnyReader
# parses those of all topics when it opens a bag, and fails if a single one of them is not understood.
ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_HUMBLE)
Reader = rosbag1.Reader | rosbag2.Reader


class Bag(Recording):
    """Images of one topic of a bag. Stamps are those of the headers, or the time of recording where they are zero."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        """Reads the list of topics.

        Args:
            path: A .bag, .mcap or .db3 file, or the folder of a ROS 2 bag.
            topic: Image topic, with or without its leading slash. By default that of the only camera.

        Raises:
            RecordingError: The bag cannot be read, the topic is not in it, or there are several cameras.
        """
        self._is_ros1 = path.suffix == ".bag"
        self.kind = "ros1 bag" if self._is_ros1 else "ros2 bag"
        self._files = _files(path)
        with self._opened() as readers:
            topics = _image_topics(connection for reader in readers for connection in reader.connections)
            chosen = self._choose(topics, topic, path)
        super().__init__(path, topic=chosen, frame_count=topics[chosen])

    def _choose(self, topics: dict[str, int], topic: str | None, path: Path) -> str:
        """Chooses the image topic among those of the bag, which are given with their numbers of messages."""
        return _only_camera(topics, path) if topic is None else _named(topic, topics, path)

    def _images(self) -> Readings[Frame]:
        bit_depth = BitDepth()
        with closing(self._messages(self.topic)) as messages:
            for recorded_ns, kind, read in messages:
                yield partial(_frame, read, DECODERS[kind], bit_depth, recorded_ns)

    def _masks(self) -> Readings[tuple[int, Labels]]:
        with closing(self._messages(GROUND_TRUTH)) as messages:
            for recorded_ns, _, read in messages:
                yield partial(_mask, read, recorded_ns)

    def _messages(self, topic: str) -> Generator[tuple[int, str, Callable[[], Any]], None, None]:
        """Yields (time of recording, type, function that reads the message) of a topic's messages, in order of time."""
        with closing(self._messages_of({topic})) as messages:
            for recorded_ns, connection, read in messages:
                yield recorded_ns, connection.msgtype, read

    def _messages_of(self, topics: Container[str]) -> Generator[tuple[int, Connection, Callable[[], Any]], None, None]:
        """Yields (time of recording, connection, function that reads the message) of several topics, in order."""
        with self._opened() as readers:
            wanted = [[each for each in reader.connections if each.topic in topics] for reader in readers]
            streams = [reader.messages(each) for reader, each in zip(readers, wanted, strict=True) if each]
            for connection, recorded_ns, data in merge(*streams, key=lambda message: message[1]):
                yield recorded_ns, connection, partial(self._deserialized, data, connection.msgtype)

    def _deserialized(self, data: bytes, kind: str) -> Any:
        try:
            return ROS1.deserialize_ros1(data, kind) if self._is_ros1 else ROS2.deserialize_cdr(data, kind)
        except Exception as error:  # generated code: truncated bytes may end in any exception
            raise RecordingError("undecodable message", got=f"{len(data)} bytes", expected=kind) from error

    def _reader(self, file: Path) -> Reader:
        return rosbag1.Reader(file) if self._is_ros1 else rosbag2.Reader(file)

    @contextmanager
    def _opened(self) -> Iterator[list[Reader]]:
        """The open readers of all files.

        Raises:
            RecordingError: The bag, or a part of it, is damaged or of an unknown format.
        """
        try:
            with ExitStack() as stack:
                readers = [self._reader(file) for file in self._files]
                for reader in readers:
                    stack.enter_context(reader)
                yield readers
        except SemlaError:
            raise
        except Exception as error:  # a damaged bag can make its reader fail anywhere
            reason = str(error) or type(error).__name__
            raise RecordingError(
                "unreadable bag", where=self._files[0], got=reason, hint=_repair(self._files)
            ) from error


def _files(path: Path) -> list[Path]:
    """The files to read. A recorder that crashed leaves a folder without metadata, but with files that can be read."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        return sorted(file for file in path.iterdir() if file.suffix in STORAGES)
    return [path]


def _repair(files: list[Path]) -> str | None:
    """What to do about a damaged bag, by the suffix of its first storage file."""
    inside = sorted(files[0].iterdir()) if files[0].is_dir() else files
    return next((REPAIR[file.suffix] for file in inside if file.suffix in REPAIR), None)


def _image_topics(connections: Iterable[Connection]) -> dict[str, int]:
    """Number of messages of each image topic."""
    counts: dict[str, int] = {}
    for connection in connections:
        if connection.msgtype in DECODERS:
            counts[connection.topic] = counts.get(connection.topic, 0) + connection.msgcount
    return counts


def _only_camera(topics: dict[str, int], path: Path) -> str:
    """The topic of the only camera, raw rather than compressed."""
    filled = [name for name, count in topics.items() if count and not name.endswith((GROUND_TRUTH, "/compressedDepth"))]
    cameras = sorted(name for name in filled if name.removesuffix("/compressed") not in set(filled) - {name})
    if not cameras:
        raise RecordingError("no images in it", where=path, expected=" or ".join(DECODERS))
    if len(cameras) > 1:
        raise RecordingError("several image topics", where=path, got=_listed(topics), hint="Name one of them.")
    return cameras[0]


def _named(topic: str, topics: dict[str, int], path: Path) -> str:
    """The full name of a topic that is given with or without its leading slash and transport."""
    known = {name.strip("/"): name for name in topics}
    wanted = topic.strip("/")
    for name in (wanted, f"{wanted}/compressed"):
        if name in known:
            return known[name]
    raise RecordingError("no such image topic", where=path, got=topic, expected=f"one of {_listed(topics)}")


def _listed(topics: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(topics.items())) or "none"


def _frame(
    read: Callable[[], Any],
    decoder: Callable[[Any, BitDepth], NDArray[np.uint8]],
    bit_depth: BitDepth,
    recorded_ns: int,
) -> Frame:
    message = read()
    return Frame(decoder(message, bit_depth), _stamp(message, recorded_ns), message.header.frame_id)


def _mask(read: Callable[[], Any], recorded_ns: int) -> tuple[int, Labels]:
    message = read()
    encoding = encoding_of(message)
    if message.encoding not in MASK_ENCODINGS:
        raise ImageError("no label image", got=message.encoding, expected=" or ".join(MASK_ENCODINGS))
    return _stamp(message, recorded_ns), pixels(message, encoding)


def _stamp(message: Any, recorded_ns: int) -> int:
    """Nanoseconds of the header, or of the recording if the header's are zero."""
    stamp = message.header.stamp
    if stamp.sec < 0:
        raise RecordingError("negative stamp", got=f"{stamp.sec} s", expected="0 s or more")
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or recorded_ns
