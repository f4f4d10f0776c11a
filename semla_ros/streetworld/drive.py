"""A continuous drive through changing weather: frames with ground truth, or a ROS 2 bag."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Writer

from semla_ros.errors import ConfigError, RecordingError
from semla_ros.images.frame import Frame
from semla_ros.progress import ProgressBar
from semla_ros.recordings.writer import STORE, mcap_writer, new
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.capture import capture
from semla_ros.streetworld.dataset import Size
from semla_ros.streetworld.layout import StreetLayout, street_layout
from semla_ros.streetworld.legs import DEMO_LEGS, Itinerary, Leg
from semla_ros.streetworld.messages import camera_info, header
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import EGO_SPEED, Scene
from semla_ros.topics.messages import image

__all__ = ["DEMO_LEGS", "Drive", "DriveFrame", "Leg", "write_drive"]

START_NS = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC
TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/camera/ground_truth": "sensor_msgs/msg/Image",
    "/camera/domain": "std_msgs/msg/String",
}
DEPTH_TOPICS = {
    "/camera/depth/image_raw": "sensor_msgs/msg/Image",
    "/camera/depth/camera_info": "sensor_msgs/msg/CameraInfo",
}
DEPTH_RANGE_M = 40.0  # of the simulated depth camera


@dataclass(frozen=True, slots=True)
class DriveFrame:
    """One frame of a drive with its ground truth.

    Attributes:
        frame: Image with stamp and frame_id, as the camera publishes it.
        labels: Class ids, (H, W) uint8.
        depth: Depth in metres, (H, W) float32.
        domain: Name of the domain; during a transition, the one with the larger share.
        steady: False during a transition between two domains.
    """

    frame: Frame
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    domain: str
    steady: bool


class Drive:
    """A drive at 8 m/s along one street.

    If the next leg is in another kind of place (forest, corridor), the place changes in the middle of the transition.

    Args:
        legs: Legs in driving order. The transition of the last leg is not used.
        seed: Seed of the street, of the weather and of the sensor noise.
        size: Image size (height, width), pixels.
        rate_hz: Frame rate, images per second, above 0.
        start_ns: Stamp of the first image, nanoseconds since the Unix epoch.

    Raises:
        ConfigError: There are no legs, a domain is unknown, a leg has no length, the rate is not above 0,
            or the drive is shorter than one frame.
    """

    def __init__(
        self,
        legs: Sequence[Leg],
        seed: int = 0,
        size: Size = (240, 384),
        rate_hz: float = 10.0,
        start_ns: int = START_NS,
    ) -> None:
        if not rate_hz > 0:
            raise ConfigError("camera rate out of range", where="rate_hz", got=rate_hz, expected="above 0 Hz")
        self.itinerary = Itinerary(legs, seed)
        self.seed, self.rate_hz, self.start_ns = seed, rate_hz, start_ns
        self.camera = Camera.of_size(size)
        if not len(self):
            got = f"{self.itinerary.duration_s:g} s at {rate_hz:g} Hz"
            raise ConfigError("drive without length", where="legs", got=got, expected="the time of one frame or more")

    def __len__(self) -> int:
        """Number of frames."""
        return round(self.itinerary.duration_s * self.rate_hz)

    def frames(self) -> Iterator[DriveFrame]:
        """Renders all frames in order."""
        return (self.frame(number) for number in range(len(self)))

    def frame(self, number: int) -> DriveFrame:
        """Renders the frame of this number, from 0. Frames do not depend on the order in which they are rendered."""
        time_s = number / self.rate_hz
        domain, weather, steady = self.itinerary.at(time_s)
        layout = street_layout(domain.place, self.seed)
        layers = render(Scene(layout, self.seed, _pose(layout, time_s), time_s), self.camera)
        rgb = capture(layers, weather, np.random.default_rng([self.seed, number]), self.seed)
        stamp = self.start_ns + round(number * 1e9 / self.rate_hz)
        return DriveFrame(Frame(rgb, stamp, "camera"), layers.label, layers.depth, domain.name, steady)


def _pose(layout: StreetLayout, time_s: float) -> Pose:
    """Camera pose with a slow lateral drift in the lane and a small pitch oscillation."""
    drift = 0.31 * time_s
    yaw, pitch = 0.012 * math.cos(drift), 0.004 * math.sin(4.1 * time_s)
    return Pose(EGO_SPEED * time_s, layout.lane + 0.15 * math.sin(drift), yaw=yaw, pitch=pitch)


def write_drive(path: Path, drive: Drive, with_depth: bool = False) -> None:
    """Writes a drive as an MCAP bag with the topics of `TOPICS`.

    Encodings: /camera/image_raw rgb8, /camera/ground_truth mono8 (class ids), /camera/domain JSON,
    /camera/depth/image_raw 32FC1 (metres; NaN beyond `DEPTH_RANGE_M`). If writing fails or is interrupted, the
    incomplete bag is removed.

    Args:
        path: Folder of the bag; must not exist yet.
        drive: The drive to render and record.
        with_depth: Whether to record the topics of `DEPTH_TOPICS`, too.

    Raises:
        RecordingError: ``path`` exists already or cannot be written.
    """
    if path.exists():
        raise RecordingError("bag exists already", where=path, hint="Remove it, or write to another folder.")
    try:
        with mcap_writer(path, compress=False) as writer:
            _write_frames(writer, drive, with_depth)
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        hint = "Free space on the disk, or choose another place."
        raise RecordingError("bag cannot be written", where=path, got=error.strerror, hint=hint) from error
    except BaseException:  # an interrupt too: a shorter bag would be taken for the whole drive
        shutil.rmtree(path, ignore_errors=True)
        raise


def _write_frames(writer: Writer, drive: Drive, with_depth: bool) -> None:
    kinds = TOPICS | (DEPTH_TOPICS if with_depth else {})
    connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}
    for item in ProgressBar(drive.frames(), desc="drive", total=len(drive)):
        messages = _messages(item, drive.camera) | (_depth_messages(item, drive.camera) if with_depth else {})
        for topic, message in messages.items():
            writer.write(connections[topic], item.frame.stamp_ns, STORE.serialize_cdr(message, kinds[topic]))


def _messages(item: DriveFrame, camera: Camera) -> dict[str, Any]:
    """The messages of one frame by their topic."""
    state = json.dumps({"domain": item.domain, "steady": item.steady})
    return {
        "/camera/image_raw": image(header(item.frame), item.frame.rgb, new),
        "/camera/camera_info": camera_info(item.frame, camera),
        "/camera/ground_truth": image(header(item.frame), item.labels, new),
        "/camera/domain": new("std_msgs/msg/String", data=state),
    }


def _depth_messages(item: DriveFrame, camera: Camera) -> dict[str, Any]:
    """The messages of the depth camera, which has the view of the colour camera."""
    depth = np.where(item.depth <= DEPTH_RANGE_M, item.depth, np.nan).astype(np.float32)
    return {
        "/camera/depth/image_raw": image(header(item.frame), depth, new),
        "/camera/depth/camera_info": camera_info(item.frame, camera),
    }
