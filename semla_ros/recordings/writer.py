"""Results of the pipeline as a ROS 2 bag (MCAP) with the live node's topics."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from semla_ros.config import OutputConfig
from semla_ros.images.classes import ClassInfo
from semla_ros.images.files import encoded
from semla_ros.topics import messages, outputs
from semla_ros.topics.outputs import Topic
from semla_ros.topics.sources import ClassList, DomainReport, SegmentedImage

if TYPE_CHECKING:
    from semla_ros.pipeline.result import SegmentationResult

STORE = get_typestore(Stores.ROS2_HUMBLE)
NAMESPACE = "/semla"  # of the topics; the full name of the live node in the root namespace is the same
COMPRESSED = "sensor_msgs/msg/CompressedImage"
UNLIMITED = QosTime(9223372036, 854775807)  # the largest 64-bit number of nanoseconds, which means "no limit"


class ResultBag:
    """An open bag that results are written to.

    Args:
        writer: Open rosbags writer.
        classes: The segmenter's classes, written once before all other messages.
        min_confidence: Confidence below which pixels are unlabelled, 0 to 1.
        on_demand: Names of the on-demand topics to write. Their images are stored as JPEG in ``<name>/compressed``.
        config: Size and encoding of the images.
    """

    def __init__(
        self,
        writer: Writer,
        classes: Sequence[ClassInfo],
        min_confidence: float,
        on_demand: Collection[str] = (),
        config: OutputConfig | None = None,
    ) -> None:
        self._writer, self._classes, self._min_confidence = writer, classes, min_confidence
        self._config = config or OutputConfig()
        known = [topic for topic in outputs.TOPICS if topic.kind in STORE.types]
        self._topics = [topic for topic in known if not topic.on_demand or topic.name in on_demand]
        self._connections: dict[Topic, Any] = {}  # of the topics that had a message
        self._time_ns = -1

    def write(self, result: SegmentationResult) -> None:
        """Writes all messages of one result. They carry the stamp and frame_id of its image."""
        frame = result.frame
        header = messages.header(frame.stamp_ns, frame.frame_id, new)
        first = self._time_ns < 0
        self._time_ns = max(self._time_ns, frame.stamp_ns, 0)  # a bag is in order even where stamps jump back
        if first:
            self._put(ClassList(header, self._classes, self._min_confidence))
        self._put(SegmentedImage.of(result, header, self._classes, self._config))
        self._put(DomainReport.of(result.domain, header, NAMESPACE))

    def _put(self, source: object) -> None:
        """Writes all messages that are made from a source."""
        for topic in self._topics:
            message = topic.make(source, new) if isinstance(source, topic.source) else None
            if message is not None:
                connection = self._connections.get(topic) or self._connect(topic)
                stored = compressed(message) if topic.on_demand else message
                self._writer.write(connection, self._time_ns, STORE.serialize_cdr(stored, connection.msgtype))

    def _connect(self, topic: Topic) -> Any:
        name, kind = (f"{topic.name}/compressed", COMPRESSED) if topic.on_demand else (topic.name, topic.kind)
        self._connections[topic] = self._writer.add_connection(
            f"{NAMESPACE}/{name}", kind, typestore=STORE, offered_qos_profiles=[_qos(topic)]
        )
        return self._connections[topic]


@contextmanager
def result_bag(
    folder: Path,
    classes: Sequence[ClassInfo],
    min_confidence: float = 0.0,
    with_overlay: bool = False,
    config: OutputConfig | None = None,
) -> Iterator[ResultBag]:
    """Opens a new bag ``folder``, which will hold metadata.yaml and one .mcap file of the same name."""
    with mcap_writer(folder) as writer:
        yield ResultBag(writer, classes, min_confidence, {outputs.OVERLAY} if with_overlay else (), config)


def mcap_writer(folder: Path, compress: bool = True) -> Writer:
    """A writer of a new MCAP bag ``folder``, to be used as a context manager.

    Args:
        folder: Must not exist yet.
        compress: Whether the chunks of the file are compressed (Zstandard).
    """
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)  # Humble and Iron cannot read version 9
    if compress:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    return writer


def new(kind: str, /, **fields: Any) -> Any:
    """A rosbags message of a type, see `semla_ros.topics.messages.NewMessage`."""
    return STORE.types[kind](**fields)


def compressed(image: Any) -> Any:
    """An rgb8 sensor_msgs/Image as a sensor_msgs/CompressedImage, JPEG.

    Raises:
        ImageError: OpenCV cannot encode it, for example because a side is longer than JPEG allows.
    """
    rgb = image.data.reshape(image.height, image.width, 3)
    jpeg = np.frombuffer(encoded(rgb, ".jpg"), np.uint8)
    return new(COMPRESSED, header=image.header, format="rgb8; jpeg compressed bgr8", data=jpeg)


def _qos(topic: Topic) -> Qos:
    """The QoS of the live node, so that a played bag reaches the same subscribers."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=topic.depth,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if topic.transient_local else QosDurability.VOLATILE,
        deadline=UNLIMITED,
        lifespan=UNLIMITED,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=UNLIMITED,
        avoid_ros_namespace_conventions=False,
    )
