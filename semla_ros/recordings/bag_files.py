"""The files of a ROS 1 or ROS 2 bag: topics and serialized messages, read without ROS."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from heapq import merge
from pathlib import Path
from typing import Any

from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from semla_ros.errors import RecordingError, SemlaError

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


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One message of a bag.

    Attributes:
        time_ns: Time of recording, nanoseconds.
        topic: Name of the topic.
        kind: Type of the message, for example "sensor_msgs/msg/Image".
        data: Serialized message, in the format of the bag.
    """

    time_ns: int
    topic: str
    kind: str
    data: bytes


class BagFiles:
    """A bag on disk.

    Args:
        path: A .bag, .mcap or .db3 file, or the folder of a ROS 2 bag.

    Attributes:
        is_ros1: Whether it is a ROS 1 bag.
    """

    def __init__(self, path: Path) -> None:
        self.is_ros1 = path.suffix == ".bag"
        self._files = _files(path)

    def topics(self, kinds: Collection[str]) -> dict[str, tuple[str, int]]:
        """Type and number of messages of each topic of these types.

        Raises:
            RecordingError: The bag, or a part of it, is damaged or of an unknown format.
        """
        found: dict[str, tuple[str, int]] = {}
        with self._opened() as readers:
            for connection in (each for reader in readers for each in reader.connections):
                if connection.msgtype in kinds:
                    before = found.get(connection.topic, ("", 0))[1]
                    found[connection.topic] = connection.msgtype, before + connection.msgcount
        return found

    def messages(self, topics: Collection[str]) -> Generator[BagMessage, None, None]:
        """Yields the messages of some topics in order of time.

        Raises:
            RecordingError: As for `topics`.
        """
        with self._opened() as readers:
            wanted = [[each for each in reader.connections if each.topic in topics] for reader in readers]
            streams = [reader.messages(each) for reader, each in zip(readers, wanted, strict=True) if each]
            for connection, time_ns, data in merge(*streams, key=lambda message: message[1]):
                yield BagMessage(time_ns, connection.topic, connection.msgtype, data)

    def deserialized(self, message: BagMessage) -> Any:
        """The message as an object.

        Raises:
            RecordingError: Its bytes are damaged.
        """
        read = ROS1.deserialize_ros1 if self.is_ros1 else ROS2.deserialize_cdr
        with _damage_named(message):
            return read(message.data, message.kind)

    def cdr(self, message: BagMessage) -> bytes:
        """The message as ROS 2 sends it over the network.

        Raises:
            RecordingError: Its bytes are damaged.
        """
        with _damage_named(message):
            return bytes(_ros1_to_cdr(message) if self.is_ros1 else message.data)

    def _reader(self, file: Path) -> Reader:
        return rosbag1.Reader(file) if self.is_ros1 else rosbag2.Reader(file)

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


@contextmanager
def _damage_named(message: BagMessage) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # generated code: truncated bytes may end in any exception
        got = f"{len(message.data)} bytes"
        raise RecordingError("undecodable message", got=got, expected=message.kind) from error


def _ros1_to_cdr(message: BagMessage) -> memoryview:
    return ROS2.serialize_cdr(_ros2_message(ROS1.deserialize_ros1(message.data, message.kind)), message.kind)


def _ros2_message(message: Any) -> Any:
    """A ROS 1 message as one of ROS 2: headers have no seq there, and the fields of CameraInfo are in lower case."""
    values = [getattr(message, field.name) for field in fields(message) if field.name != "seq"]
    return ROS2.types[message.__msgtype__](*(_ros2_message(each) if is_dataclass(each) else each for each in values))


def _files(path: Path) -> list[Path]:
    """The files to read. A recorder that crashed leaves a folder without metadata, but with files that can be read."""
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        return sorted(file for file in path.iterdir() if file.suffix in STORAGES)
    return [path]


def _repair(files: list[Path]) -> str | None:
    """What to do about a damaged bag, by the suffix of its first storage file."""
    inside = sorted(files[0].iterdir()) if files[0].is_dir() else files
    return next((REPAIR[file.suffix] for file in inside if file.suffix in REPAIR), None)
