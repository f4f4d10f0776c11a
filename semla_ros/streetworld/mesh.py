"""Flat faces in street coordinates, collected for one image."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld import CLASSES

Corner = tuple[float, float, float]
Color = tuple[float, float, float]
BLACK: Color = (0.0, 0.0, 0.0)
LABEL = {name: index for index, name in enumerate(CLASSES)}


class Material(IntEnum):
    """How a face is shaded."""

    GROUND = 0
    SKY = 1
    SHADOW = 2
    PLAIN = 3
    FACADE = 4
    BRICK = 5
    SLATS = 6
    FOLIAGE = 7
    LAMP = 8
    SIGNAL = 9


class Facing(IntEnum):
    """Which way a face looks: decides its share of sunlight and of snow."""

    UP = 0
    LEFT = 1
    RIGHT = 2
    CAMERA = 3
    ROUND = 4


class Mesh:
    """Faces with their paint order.

    Corners are (u, h, s): metres to the right of the centre line, above the ground, along the street.
    A face belongs to the thing begun last; things are painted by `order`, far ones first.
    """

    def __init__(self) -> None:
        self.corners: list[Corner] = []
        self.counts: list[int] = []
        self.rows: list[tuple[float, ...]] = []
        self.kinds: list[str] = []
        self._order = 0.0

    def begin(self, kind: str, s: float, layer: int, cell: float) -> None:
        """Starts a thing at ``s``; within a street cell outer layers (small numbers) are painted first."""
        index = s // cell
        self._order = -1000.0 * index + 100.0 * layer - (s - index * cell)
        self.kinds.append(kind)

    def add(
        self,
        corners: Sequence[Corner],
        label: int,
        color: Color,
        material: Material = Material.PLAIN,
        facing: Facing = Facing.CAMERA,
        glow: Color = BLACK,
    ) -> None:
        """Adds a flat face to the current thing; ``color`` and ``glow`` are linear light."""
        self.corners.extend(corners)
        self.counts.append(len(corners))
        self.rows.append((self._order, len(self.kinds) - 1, label, material, facing, *color, *glow))

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """Corners (M, 3), corners per face (N,), and one row per face (N, 11).

        A row is order, thing, label, material, facing, colour (3), glow (3).
        """
        corners = np.array(self.corners, np.float32).reshape(-1, 3)
        return corners, np.array(self.counts, np.int64), np.array(self.rows, np.float32).reshape(-1, 11)
