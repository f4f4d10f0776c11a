"""How each output message is made, for any implementation of ROS messages.

The functions receive a message factory, because the live node needs messages of rclpy and the bag writer needs those
of rosbags.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semla_ros.images import conversion, panoptic
from semla_ros.images.classes import class_names
from semla_ros.topics.sources import ClassList, DomainReport, SegmentedImage

CLASS = "vision_msgs/msg/VisionClass"
ENCODINGS = {
    (2, "uint8"): "mono8", (2, "uint16"): "mono16", (2, "int32"): "32SC1", (2, "float32"): "32FC1",
    (3, "uint8"): "rgb8",
}  # fmt: skip


class NewMessage(Protocol):
    """Creates a message, for example ``new("std_msgs/msg/String", data="road")``.

    Byte arrays are passed as 1-D uint8 arrays and diagnostic levels as integers.
    """

    def __call__(self, kind: str, /, **fields: Any) -> Any: ...  # noqa: D102


def mask(source: SegmentedImage, new: NewMessage) -> Any:
    """Class ids, mono8 or mono16."""
    return image(source.header, source.labels, new)


def confidence(source: SegmentedImage, new: NewMessage) -> Any:
    """Probability of each pixel's class, mono8 or 32FC1."""
    return image(source.header, source.confidence, new)


def color(source: SegmentedImage, new: NewMessage) -> Any:
    """Labels in the colours of their classes, rgb8."""
    return image(source.header, conversion.colorize(source.labels, source.classes), new)


def instances(source: SegmentedImage, new: NewMessage) -> Any:
    """Instances of things, mono16, 0 where there is none; None if the segmenter does not tell objects apart."""
    return image(source.header, source.segments.instances, new) if source.segments else None


def panoptic_ids(source: SegmentedImage, new: NewMessage) -> Any:
    """Class id * 1000 + instance, 32SC1, -1 where there is no segment; None if the segmenter has no segments."""
    if source.segments is None:
        return None
    return image(source.header, panoptic.pack(source.segments.classes, source.segments.instances), new)


def overlay(source: SegmentedImage, new: NewMessage) -> Any:
    """Camera image blended with the colours of the classes, rgb8, with white outlines of the instances."""
    return image(source.header, source.blend, new)


def support(source: SegmentedImage, new: NewMessage) -> Any:
    """Support score; None while it is unknown."""
    return new("std_msgs/msg/Float32", data=source.support) if math.isfinite(source.support) else None


def labels(source: ClassList, new: NewMessage) -> Any:
    """Classes as JSON: a list of id, name and RGB color."""
    return new("std_msgs/msg/String", data=json.dumps([asdict(info) for info in source.classes]))


def label_info(source: ClassList, new: NewMessage) -> Any:
    """Classes as the standard message for label images, each under its first synonym."""
    names = class_names(source.classes)
    ids = [info.id for info in source.classes]
    class_map = [new(CLASS, class_id=number, class_name=name) for number, name in zip(ids, names, strict=True)]
    kind = "vision_msgs/msg/LabelInfo"
    return new(kind, header=source.header, class_map=class_map, threshold=source.threshold)


def state(source: DomainReport, new: NewMessage) -> Any:
    """Domain state as diagnostics."""
    values = [new("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in source.values.items()]
    status = new(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=source.level, name=source.name, message=source.message, hardware_id="", values=values,
    )  # fmt: skip
    return new("diagnostic_msgs/msg/DiagnosticArray", header=source.header, status=[status])


def header(stamp_ns: int, frame_id: str, new: NewMessage) -> Any:
    """std_msgs/Header of a time in nanoseconds and a coordinate frame."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return new("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def stamp_ns(header: Any) -> int:
    """The stamp of a std_msgs/Header, nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def image(header: Any, pixels: NDArray[Any], new: NewMessage) -> Any:
    """sensor_msgs/Image with unpadded rows, little-endian.

    Args:
        header: std_msgs/Header.
        pixels: (H, W) uint8, uint16, int32 or float32, or (H, W, 3) uint8 RGB.
        new: Message factory.
    """
    packed = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return new(
        "sensor_msgs/msg/Image",
        header=header, height=packed.shape[0], width=packed.shape[1],
        encoding=ENCODINGS[packed.ndim, pixels.dtype.name], is_bigendian=0, step=packed.strides[0],
        data=packed.view(np.uint8).reshape(-1),
    )  # fmt: skip
