"""Pinhole camera and its pose in street coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pose:
    """Camera pose in street coordinates.

    Attributes:
        s: Position along the street, m.
        u: Lateral position, m; positive is right of the road's centre line.
        h: Height above the ground, m.
        yaw: Rotation to the right of the street's tangent, rad.
        pitch: Upward rotation, rad.
    """

    s: float = 0.0
    u: float = 0.0
    h: float = 1.4
    yaw: float = 0.0
    pitch: float = 0.0

    def rotation(self) -> Array:
        """Rotation matrix from street axes to camera axes, (3, 3) float32; both are right, up, forward."""
        cy, sy, cp, sp = math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        rotation: Array = (pitch @ yaw).astype(np.float32)
        return rotation


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics of a pinhole camera without distortion.

    Attributes:
        width: Image width, pixels.
        height: Image height, pixels.
        focal: Focal length, pixels.
    """

    width: int
    height: int
    focal: float

    @classmethod
    def of_size(cls, size: tuple[int, int], fov_deg: float = 65.0) -> Camera:
        """Camera with the given image size.

        Args:
            size: (height, width) in pixels.
            fov_deg: Horizontal field of view, degrees.
        """
        height, width = size
        return cls(width, height, 0.5 * width / math.tan(math.radians(fov_deg) / 2))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Camera matrix K, (3, 3) float64; the principal point is the image centre."""
        return np.array([[self.focal, 0, (self.width - 1) / 2], [0, self.focal, (self.height - 1) / 2], [0, 0, 1]])

    def rays(self) -> Array:
        """Viewing directions of all pixels, (H, W, 3) float32: right, up, forward, scaled to forward = 1."""
        return _rays(self)

    def project(self, points: Array) -> Array:
        """Projects points in camera axes, (N, 3), all in front of the camera, to pixel coordinates (N, 2)."""
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
