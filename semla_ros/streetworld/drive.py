"""A continuous drive through changing weather, as frames with ground truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ConfigError
from semla_ros.frame import Frame
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.dataset import Size
from semla_ros.streetworld.domains import Domain, domain_named
from semla_ros.streetworld.picture import picture
from semla_ros.streetworld.places import layout
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import EGO_SPEED, Scene
from semla_ros.streetworld.weather import Weather

START_NS = 1_767_268_800_000_000_000  # 2026-01-01 12:00 UTC


@dataclass(frozen=True, slots=True)
class Leg:
    """One domain of a drive: seconds of steady weather, then seconds of passing into the next leg's."""

    domain: str
    steady_s: float
    transition_s: float = 0.0


DEMO_LEGS = (Leg("clear_day", 12, 3), Leg("fog_day", 12, 3), Leg("clear_night", 12, 3), Leg("snow_day", 15))


@dataclass(frozen=True, slots=True)
class DriveFrame:
    """One picture of a drive.

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
        rate_hz: Pictures a second.
        start_ns: Stamp of the first picture.

    Raises:
        ConfigError: No legs, an unknown domain, or a rate that is not positive.
    """

    def __init__(
        self, legs: Sequence[Leg], seed: int = 0, size: Size = (240, 384), rate_hz: float = 10.0, start_ns: int = START_NS
    ) -> None:
        if not legs or rate_hz <= 0:
            raise ConfigError("empty drive", where="streetworld", got=f"{len(legs)} legs at {rate_hz} Hz", expected="both above 0")
        self.legs, self.seed, self.size, self.rate_hz, self.start_ns = tuple(legs), seed, size, rate_hz, start_ns
        self.camera = Camera.of_size(size)
        self._domains = [domain_named(leg.domain) for leg in legs]
        self._weather = [d.sample(Random(f"drive/{seed}/{i}")) for i, d in enumerate(self._domains)]
        lengths = [leg.steady_s + leg.transition_s for leg in legs[:-1]] + [legs[-1].steady_s]
        self._starts = [0.0, *accumulate(lengths)]

    def __len__(self) -> int:
        """Number of pictures."""
        return round(self._starts[-1] * self.rate_hz)

    def frames(self) -> Iterator[DriveFrame]:
        """Renders the drive, picture by picture."""
        return (self.frame(number) for number in range(len(self)))

    def frame(self, number: int) -> DriveFrame:
        """Renders one picture of the drive; any order gives the same pictures."""
        time_s = number / self.rate_hz
        domain, weather, steady = self.weather_at(time_s)
        plan = layout(domain.place, self.seed)
        sway = math.sin(0.31 * time_s)
        pose = Pose(
            EGO_SPEED * time_s, plan.lane + 0.15 * sway, yaw=0.012 * math.cos(0.31 * time_s), pitch=0.004 * math.sin(4.1 * time_s)
        )
        layers = render(Scene(plan, self.seed, pose, time_s), self.camera)
        rgb = picture(layers, weather, np.random.default_rng([self.seed, number]), self.seed)
        stamp = self.start_ns + round(number * 1e9 / self.rate_hz)
        return DriveFrame(Frame(rgb, stamp, "camera"), layers.label, layers.depth, domain.name, steady)

    def weather_at(self, time_s: float) -> tuple[Domain, Weather, bool]:
        """The domain, the weather and whether it is steady, this long after the start."""
        leg = max(i for i, start in enumerate(self._starts[:-1]) if start <= time_s)
        passed, length = time_s - self._starts[leg] - self.legs[leg].steady_s, self.legs[leg].transition_s
        if passed < 0 or leg + 1 == len(self.legs):
            return self._domains[leg], self._weather[leg], True
        t = passed / length
        nearer = self._domains[leg + (t >= 0.5)]
        return nearer, Weather.blend(self._weather[leg], self._weather[leg + 1], t), False
