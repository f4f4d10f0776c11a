"""Cars, built from a side profile, the near end, and the top faces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from semla_ros.streetworld.mesh import BLACK, LABEL, Color, Facing, Material, Mesh
from semla_ros.streetworld.shapes import disc, flat, shade, tint, upright

CAR = LABEL["car"]
GLASS: Color = (0.02, 0.03, 0.04)
RUBBER: Color = (0.008, 0.008, 0.008)
TAIL_LIGHT: tuple[Color, Color] = ((0.4, 0.01, 0.01), (1.6, 0.05, 0.03))  # colour, glow
HEADLIGHT: tuple[Color, Color] = ((0.8, 0.8, 0.75), (5.0, 4.7, 4.0))
HALF_WIDTH_M = 0.9

# Side profiles: (position from tail (0) to front (1), height in metres). MODELS: (length, height, profile), metres.
SALOON = ((0.0, 0.55), (0.0, 0.92), (0.14, 1.0), (0.28, 1.42), (0.66, 1.42), (0.8, 0.95), (1.0, 0.8), (1.0, 0.4))
HATCHBACK = ((0.0, 0.5), (0.0, 1.0), (0.06, 1.45), (0.6, 1.5), (0.78, 1.0), (1.0, 0.85), (1.0, 0.4))
VAN = ((0.0, 0.5), (0.0, 2.05), (0.03, 2.1), (0.76, 2.1), (0.88, 1.25), (1.0, 1.1), (1.0, 0.4))
MODELS = ((4.4, 1.42, SALOON), (3.9, 1.5, HATCHBACK), (4.9, 2.1, VAN))


@dataclass(frozen=True, slots=True)
class Car:
    """A car.

    Attributes:
        u: Lateral position of the centre, m.
        s: Position of the near end along the street, m.
        away: True if the camera sees the tail, False if it sees the front.
        length: Length, m.
        height: Height, m.
        outline: Side profile as (s, h) points in street coordinates, m.
        color: Paint, linear RGB.
    """

    u: float
    s: float
    away: bool
    length: float
    height: float
    outline: tuple[tuple[float, float], ...]
    color: Color

    @classmethod
    def random(cls, rng: Random, u: float, s: float, away: bool) -> Car:
        """A random saloon, hatchback or van in a random colour."""
        length, height, profile = rng.choice(MODELS)
        outline = tuple(((x if away else 1 - x) * length + s, h) for x, h in profile)
        return cls(u, s, away, length, height, outline, _paint(rng))

    def build(self, mesh: Mesh, camera_u: float) -> None:
        """Adds the faces that are visible to a camera at lateral position ``camera_u``, m."""
        ground = flat(self.u - 1.0, self.u + 1.0, 0.0, self.s - 0.25, self.s + self.length + 0.2)
        mesh.add(ground, LABEL["road"], BLACK, Material.SHADOW, Facing.UP)
        self._tops(mesh)
        if abs(camera_u - self.u) > HALF_WIDTH_M:
            self._flank(mesh, 1 if camera_u > self.u else -1)
        self._end(mesh)

    def _tops(self, mesh: Mesh) -> None:
        for (s0, h0), (s1, h1) in sorted(pairwise(self.outline), key=lambda edge: -(edge[0][0] + edge[1][0])):
            steep = abs(h1 - h0) > 0.25 * abs(s1 - s0)
            glass = steep and max(h0, h1) > 0.85 * self.height and abs(s1 - s0) > 0.1
            w0, w1 = (HALF_WIDTH_M - 0.25 * max(h - 1.0, 0) for h in (h0, h1))
            corners = [(self.u - w0, h0, s0), (self.u + w0, h0, s0), (self.u + w1, h1, s1), (self.u - w1, h1, s1)]
            mesh.add(corners, CAR, GLASS if glass else self.color, facing=Facing.CAMERA if steep else Facing.UP)

    def _flank(self, mesh: Mesh, side: int) -> None:
        u, facing = self.u + side * HALF_WIDTH_M, Facing.RIGHT if side > 0 else Facing.LEFT
        sill = [(u, 0.3, self.outline[-1][0]), (u, 0.3, self.outline[0][0])]
        mesh.add([(u, h, s) for s, h in self.outline] + sill, CAR, shade(self.color, 0.9), facing=facing)
        waist, top = 0.62 * self.height, 0.93 * self.height
        cabin = sorted(s for s, h in self.outline if h > 0.9 * self.height)
        s0, s1 = cabin[0], cabin[-1]
        panes = [(u, waist, s0 - 0.2), (u, waist, s1 + 0.2), (u, top, s1 - 0.1), (u, top, s0 + 0.1)]
        mesh.add(panes, CAR, GLASS, facing=facing)
        for wheel in (self.s + 0.18 * self.length, self.s + 0.8 * self.length):
            tyre = [(u, h, wheel + across) for across, h, _ in disc(0, 0.33, 0, 0.33)]
            mesh.add(tyre, CAR, (0.01, 0.01, 0.01), facing=facing)

    def _end(self, mesh: Mesh) -> None:
        u, s, left, right = self.u, self.s, self.u - HALF_WIDTH_M, self.u + HALF_WIDTH_M
        top = min(max(h for at, h in self.outline if at < s + 0.05), 1.05)
        mesh.add(upright(left, right, 0.3, top, s), CAR, shade(self.color, 0.85))
        mesh.add(upright(left, right, 0.18, 0.42, s), CAR, (0.02, 0.02, 0.02))
        if self.outline[1][1] > 2 and self.away:
            mesh.add(upright(u - 0.7, u + 0.7, 1.25, 1.85, s), CAR, GLASS)
        color, glow = TAIL_LIGHT if self.away else HEADLIGHT
        for inner, outer in ((left, left + 0.36), (right - 0.36, right)):
            mesh.add(upright(inner, outer, top - 0.3, top - 0.1, s), CAR, color, Material.LAMP, glow=glow)
        mesh.add(upright(u - 0.26, u + 0.26, 0.45, 0.57, s), CAR, (0.75, 0.75, 0.7))
        for tyre in (left + 0.15, right - 0.15):
            mesh.add(upright(tyre - 0.12, tyre + 0.12, 0.0, 0.3, s), CAR, RUBBER)


def _paint(rng: Random) -> Color:
    """A paint colour: often grey, white or black, otherwise saturated."""
    if rng.random() < 0.45:
        return tint(rng, (0.5, 0.7), (0.0, 0.1), (0.12, 0.97))
    return tint(rng, (0, 1), (0.5, 0.95), (0.3, 0.9))
