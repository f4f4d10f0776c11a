"""What the pipeline perceives, as a ROS 2 bag (MCAP) with the live node's topics."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from semla_ros.images.classes import ClassInfo
from semla_ros.images.conversion import overlay
from semla_ros.topics.domain import key_values, level_and_message

if TYPE_CHECKING:
    from semla_ros.pipeline.result import SegmentationResult

STORE = get_typestore(Stores.ROS2_HUMBLE)
MASK = "/semla/segmentation/mask"
CONFIDENCE = "/semla/segmentation/confidence"
OVERLAY = "/semla/segmentation/overlay/compressed"
LABELS = "/semla/segmentation/labels"
SUPPORT = "/semla/domain/support"
STATE = "/semla/domain/state"
TYPES = {
    MASK: "sensor_msgs/msg/Image",
    CONFIDENCE: "sensor_msgs/msg/Image",
    OVERLAY: "sensor_msgs/msg/CompressedImage",
    LABELS: "std_msgs/msg/String",
    SUPPORT: "std_msgs/msg/Float32",
    STATE: "diagnostic_msgs/msg/DiagnosticArray",
}
TRANSIENT_LOCAL = {LABELS, STATE}
FOREVER = QosTime(9223372036, 854775807)  # nanoseconds up to the largest 64-bit number: no deadline


class ResultBag:
    """An open bag that results are written to.

    Args:
        writer: The open rosbags writer.
        classes: The segmenter's classes, written once, ahead of everything else.
        with_overlay: Whether images with the classes' colours over them are written too (JPEG).
    """

    def __init__(self, writer: Writer, classes: Sequence[ClassInfo], with_overlay: bool) -> None:
        topics = [topic for topic in TYPES if topic != OVERLAY or with_overlay]
        self._writer = writer
        self._classes = classes
        self._connections = {
            topic: writer.add_connection(topic, TYPES[topic], typestore=STORE, offered_qos_profiles=[_qos(topic)])
            for topic in topics
        }
        self._time_ns = -1

    def write(self, result: SegmentationResult) -> None:
        """Writes one result; its messages carry the image's own stamp and frame_id."""
        frame, domain = result.frame, result.domain
        first = self._time_ns < 0
        self._time_ns = max(self._time_ns, frame.stamp_ns, 0)  # a bag is in order even where stamps jump back
        if first:
            self._put(LABELS, data=json.dumps([asdict(info) for info in self._classes]))
        header = _header(frame.stamp_ns, frame.frame_id)
        self._put(MASK, **_image(header, result.labels))
        self._put(CONFIDENCE, **_image(header, cv2.convertScaleAbs(result.confidence, alpha=255.0)))
        if OVERLAY in self._connections:
            blend = overlay(frame.rgb, result.labels, self._classes)
            self._put(OVERLAY, header=header, format="rgb8; jpeg compressed bgr8", data=_jpeg(blend))
        if math.isfinite(domain.support):
            self._put(SUPPORT, data=domain.support)
        level, text = level_and_message(domain)
        values = [_message("diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in key_values(domain).items()]
        status = _message(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=level,
            name="semla: domain",
            message=text,
            hardware_id="camera",
            values=values,
        )
        self._put(STATE, header=header, status=[status])

    def _put(self, topic: str, **fields: Any) -> None:
        data = STORE.serialize_cdr(_message(TYPES[topic], **fields), TYPES[topic])
        self._writer.write(self._connections[topic], self._time_ns, data)


@contextmanager
def result_bag(folder: Path, classes: Sequence[ClassInfo], with_overlay: bool = False) -> Iterator[ResultBag]:
    """Opens a new bag ``folder``, which will hold metadata.yaml and one .mcap file of the same name."""
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)  # 9 would lock out ROS 2 Humble and Iron
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        yield ResultBag(writer, classes, with_overlay)


def _message(kind: str, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = _message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return _message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def _image(header: Any, pixels: NDArray[Any]) -> dict[str, Any]:
    """The fields of a mono8 or mono16 Image of (H, W) uint8 or uint16 pixels."""
    height, width = pixels.shape
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return {
        "header": header,
        "height": height,
        "width": width,
        "encoding": f"mono{8 * pixels.dtype.itemsize}",
        "is_bigendian": 0,
        "step": little.strides[0],
        "data": little.view(np.uint8).reshape(-1),
    }


def _jpeg(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1], np.uint8).reshape(-1)


def _qos(topic: str) -> Qos:
    """As the live node offers it, so that a played bag reaches the same subscribers."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if topic in TRANSIENT_LOCAL else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if topic in TRANSIENT_LOCAL else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )
