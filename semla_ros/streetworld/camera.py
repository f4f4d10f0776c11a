"""A pinhole camera that rides along the street."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the camera is: street coordinates in metres, angles in radians.

    Attributes:
        s: Along the street.
        u: To the right of the road's centre line.
        h: Above the ground.
        yaw: Turned to the right of the street's tangent.
        pitch: Turned upwards.
    """

    s: float = 0.0
    u: float = 0.0
    h: float = 1.4
    yaw: float = 0.0
    pitch: float = 0.0

    def rotation(self) -> Array:
        """Street axes (right, up, forward) to camera axes (right, up, forward), (3, 3)."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        rotation: Array = (tilt @ turn).astype(np.float32)
        return rotation


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of a pinhole camera without distortion, in pixels."""

    width: int
    height: int
    focal: float

    @classmethod
    def of_size(cls, size: tuple[int, int], fov_deg: float = 65.0) -> Camera:
        """A camera with images of ``size`` (height, width) and this horizontal field of view."""
        height, width = size
        return cls(width, height, 0.5 * width / math.tan(math.radians(fov_deg) / 2))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K, (3, 3): the principal point is the centre of the image."""
        return np.array([[self.focal, 0, (self.width - 1) / 2], [0, self.focal, (self.height - 1) / 2], [0, 0, 1]])

    def rays(self) -> Array:
        """Directions of all pixels, (H, W, 3): right, up, forward, with forward = 1."""
        return _rays(self)

    def project(self, points: Array) -> Array:
        """Pixel coordinates (N, 2) of points (N, 3) in camera axes, all in front of the camera."""
        scale = self.focal / points[:, 2]
        x = points[:, 0] * scale + (self.width - 1) / 2
        y = (self.height - 1) / 2 - points[:, 1] * scale
        return np.stack([x, y], axis=1)


@lru_cache(maxsize=4)
def _rays(camera: Camera) -> Array:
    x = (np.arange(camera.width) - (camera.width - 1) / 2) / camera.focal
    y = ((camera.height - 1) / 2 - np.arange(camera.height)) / camera.focal
    right, up = np.meshgrid(x, y)
    return np.stack([right, up, np.ones_like(right)], axis=-1).astype(np.float32)
