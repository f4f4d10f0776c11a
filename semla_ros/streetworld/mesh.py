"""Flat faces in street coordinates, collected for one image, with the objects they belong to."""

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
    """Material of a face; it decides the texture and the light."""

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
    """Direction that a face points to; it decides the share of sunlight and of snow. ROUND is a curved surface."""

    UP = 0
    LEFT = 1
    RIGHT = 2
    CAMERA = 3
    ROUND = 4


class Mesh:
    """Faces and the order in which they are painted.

    Corners are (u, h, s) in metres: to the right of the centre line, above the ground, along the street.
    A face belongs to the object that was begun last. Far objects are painted first (painter's algorithm).
    """

    def __init__(self) -> None:
        self.corners: list[Corner] = []
        self.counts: list[int] = []
        self.rows: list[tuple[float, ...]] = []
        self.kinds: list[str] = []
        self._order = 0.0

    def begin_object(self, kind: str, s: float, layer: int, cell: float) -> None:
        """Starts a new object.

        Args:
            kind: Kind of object, for example "tree".
            s: Position along the street, m.
            layer: Painting layer within a cell: 0, farthest from the road, is painted first.
            cell: Length of a cell along the street, m.
        """
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
        """Adds a flat face to the current object.

        Args:
            corners: Corners of the polygon, (u, h, s) in metres.
            label: Class id.
            color: Reflectance, linear RGB.
            material: Material.
            facing: Direction that the face points to.
            glow: Emitted light, linear RGB.
        """
        self.corners.extend(corners)
        self.counts.append(len(corners))
        self.rows.append((self._order, len(self.kinds) - 1, label, material, facing, *color, *glow))

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """The mesh as arrays.

        Returns:
            Corners (M, 3) float32; number of corners of each face (N,) int64; properties of each face (N, 11) float32:
            painting order, object id, label, material, facing, colour (3 values), glow (3 values).
        """
        corners = np.array(self.corners, np.float32).reshape(-1, 3)
        return corners, np.array(self.counts, np.int64), np.array(self.rows, np.float32).reshape(-1, 11)
