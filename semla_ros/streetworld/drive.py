"""A continuous drive through changing weather, as frames with ground truth or as a ROS 2 bag."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semla_ros.errors import ConfigError, RecordingError
from semla_ros.images.frame import Frame
from semla_ros.recordings.writer import mcap_writer
from semla_ros.streetworld import messages
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.dataset import Size
from semla_ros.streetworld.image import image
from semla_ros.streetworld.layout import Layout, layout
from semla_ros.streetworld.legs import DEMO_LEGS, Itinerary, Leg
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import EGO_SPEED, Scene

__all__ = ["DEMO_LEGS", "Drive", "DriveFrame", "Leg", "write_drive"]

START_NS = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC
TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/camera/ground_truth": "sensor_msgs/msg/Image",
    "/camera/domain": "std_msgs/msg/String",
}


@dataclass(frozen=True, slots=True)
class DriveFrame:
    """One image of a drive.

    Attributes:
        frame: What the camera publishes.
        labels: Class ids, (H, W) uint8.
        depth: Metres, (H, W) float32.
        domain: The domain; during a transition the nearer one.
        steady: False during a transition.
    """

    frame: Frame
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    domain: str
    steady: bool


class Drive:
    """A drive at 8 m/s through one street; where a leg's domain is another place, it changes mid-transition.

    Args:
        legs: In order; the last one's transition is unused.
        seed: Of the street, the weather and the drops.
        size: (height, width), pixels.
        rate_hz: Images a second.
        start_ns: Stamp of the first image.

    Raises:
        ConfigError: No legs, an unknown domain, a leg of no length, or a rate that is not positive.
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

    def __len__(self) -> int:
        """Number of images."""
        return round(self.itinerary.duration_s * self.rate_hz)

    def frames(self) -> Iterator[DriveFrame]:
        """Renders the drive, image by image."""
        return (self.frame(number) for number in range(len(self)))

    def frame(self, number: int) -> DriveFrame:
        """Renders one image of the drive; any order gives the same images."""
        time_s = number / self.rate_hz
        domain, weather, steady = self.itinerary.at(time_s)
        plan = layout(domain.place, self.seed)
        layers = render(Scene(plan, self.seed, _pose(plan, time_s), time_s), self.camera)
        rgb = image(layers, weather, np.random.default_rng([self.seed, number]), self.seed)
        stamp = self.start_ns + round(number * 1e9 / self.rate_hz)
        return DriveFrame(Frame(rgb, stamp, "camera"), layers.label, layers.depth, domain.name, steady)


def _pose(plan: Layout, time_s: float) -> Pose:
    """A driver who drifts a little in the lane, on a car that nods a little."""
    drift = 0.31 * time_s
    yaw, pitch = 0.012 * math.cos(drift), 0.004 * math.sin(4.1 * time_s)
    return Pose(EGO_SPEED * time_s, plan.lane + 0.15 * math.sin(drift), yaw=yaw, pitch=pitch)


def write_drive(path: Path, drive: Drive) -> None:
    """Writes a drive as an MCAP bag: /camera/image_raw (rgb8), camera_info, ground_truth (mono8) and domain (JSON).

    Args:
        path: The bag's folder; must not exist yet.
        drive: What to record.

    Raises:
        RecordingError: Something is at ``path`` already.
    """
    if path.exists():
        raise RecordingError("bag exists already", where=path, hint="Remove it, or write to another folder")
    store = messages.STORE
    with mcap_writer(path, compress=False) as writer:
        links = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in TOPICS.items()}
        for shot in tqdm(drive.frames(), desc="drive", total=len(drive)):
            for topic, message in _messages(shot, drive.camera).items():
                writer.write(links[topic], shot.frame.stamp_ns, store.serialize_cdr(message, TOPICS[topic]))


def _messages(shot: DriveFrame, camera: Camera) -> dict[str, Any]:
    return {
        "/camera/image_raw": messages.image(shot.frame, shot.frame.rgb, "rgb8"),
        "/camera/camera_info": messages.camera_info(shot.frame, camera),
        "/camera/ground_truth": messages.image(shot.frame, shot.labels, "mono8"),
        "/camera/domain": messages.text(json.dumps({"domain": shot.domain, "steady": shot.steady})),
    }
