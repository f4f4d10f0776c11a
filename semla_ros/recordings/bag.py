"""ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, RecordingError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import Labels
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.encodings import encoding_of, pixels
from semla_ros.images.frame import Frame
from semla_ros.recordings.bag_files import BagFiles, BagMessage
from semla_ros.recordings.recording import Readings, Recording
from semla_ros.topics import outputs
from semla_ros.topics.messages import stamp_ns

DECODERS: dict[str, Callable[[Any, BitDepth], NDArray[np.uint8]]] = {
    "sensor_msgs/msg/Image": decode,
    "sensor_msgs/msg/CompressedImage": decode_compressed,
}
GROUND_TRUTH = "/camera/ground_truth"
DEPTH_NAMES = {"depth", "depth_registered", "aligned_depth_to_color"}
OUTPUTS = tuple(f"/{topic.name}" for topic in outputs.TOPICS)
MASK_ENCODINGS = ("mono8", "mono16", "8UC1", "16UC1")


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
        self._bag = BagFiles(path)
        self.kind = "ros1 bag" if self._bag.is_ros1 else "ros2 bag"
        topics = {name: count for name, (_, count) in self._bag.topics(DECODERS).items()}
        chosen = self._choose(topics, topic, path)
        super().__init__(path, topic=chosen, frame_count=topics[chosen])

    def _choose(self, topics: dict[str, int], topic: str | None, path: Path) -> str:
        """Chooses the image topic among those of the bag, which are given with their numbers of messages."""
        return _only_camera(topics, path) if topic is None else _named(topic, topics, path)

    def _images(self) -> Readings[Frame]:
        bit_depth = BitDepth()
        with closing(self._bag.messages({self.topic})) as messages:
            for message in messages:
                yield partial(self._frame, message, bit_depth)

    def _masks(self) -> Readings[tuple[int, Labels]]:
        with closing(self._bag.messages({GROUND_TRUTH})) as messages:
            for message in messages:
                yield partial(self._mask, message)

    def _frame(self, message: BagMessage, bit_depth: BitDepth) -> Frame:
        image = self._bag.deserialized(message)
        rgb = DECODERS[message.kind](image, bit_depth)
        return Frame(rgb, _stamp(image, message.time_ns), image.header.frame_id)

    def _mask(self, message: BagMessage) -> tuple[int, Labels]:
        image = self._bag.deserialized(message)
        encoding = encoding_of(image)
        if image.encoding not in MASK_ENCODINGS:
            raise ImageError("not a label image", got=image.encoding, expected=" or ".join(MASK_ENCODINGS))
        return _stamp(image, message.time_ns), pixels(image, encoding)


def cameras(topics: Mapping[str, int]) -> list[str]:
    """Image topics of cameras in alphabetical order; for a camera with both, the raw topic rather than the compressed.

    Args:
        topics: Image topics with their numbers of messages.
    """
    other = (is_output, _is_depth, lambda name: name.endswith(GROUND_TRUTH))
    filled = {name for name, count in topics.items() if count and not any(each(name) for each in other)}
    return sorted(name for name in filled if name.removesuffix("/compressed") not in filled - {name})


def is_output(name: str) -> bool:
    """Whether a topic has outputs of the node, by its name."""
    return f"/{name}".removesuffix("/compressed").endswith(OUTPUTS)


def _is_depth(name: str) -> bool:
    """Whether a topic has depth images, by the names that drivers give them."""
    return name.endswith("/compressedDepth") or bool(DEPTH_NAMES & set(name.split("/")))


def _only_camera(topics: dict[str, int], path: Path) -> str:
    """The topic of the only camera, raw rather than compressed."""
    if not any(topics.values()):
        raise RecordingError("no images in it", where=path, expected=" or ".join(DECODERS))
    found = cameras(topics)
    if len(found) != 1:
        what = "several image topics" if found else "no camera images in it"
        hint = "Name one of them." if found else "If it is a result, give the recording that it was made from."
        raise RecordingError(what, where=path, got=_listed(topics), hint=hint)
    return found[0]


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


def _stamp(message: Any, recorded_ns: int) -> int:
    """Nanoseconds of the header, or of the recording if the header's are zero."""
    stamp = message.header.stamp
    if stamp.sec < 0:
        raise RecordingError("negative stamp", got=f"{stamp.sec} s", expected="0 s or more")
    return stamp_ns(message.header) or recorded_ns
