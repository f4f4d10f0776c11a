"""Cars: a side profile, a near end, hood and roof."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld.mesh import BLACK, LABEL, Color, Facing, Material, Mesh
from semla_ros.streetworld.things import disc, flat, shade, tint, upright

ROAD, CAR = LABEL["road"], LABEL["car"]
GLASS: Color = (0.02, 0.03, 0.04)

PROFILES = {
    "saloon": (4.4, 1.42, ((0.0, 0.55), (0.0, 0.92), (0.14, 1.0), (0.28, 1.42), (0.66, 1.42), (0.8, 0.95), (1.0, 0.8), (1.0, 0.4))),
    "hatchback": (3.9, 1.5, ((0.0, 0.5), (0.0, 1.0), (0.06, 1.45), (0.6, 1.5), (0.78, 1.0), (1.0, 0.85), (1.0, 0.4))),
    "van": (4.9, 2.1, ((0.0, 0.5), (0.0, 2.05), (0.03, 2.1), (0.76, 2.1), (0.88, 1.25), (1.0, 1.1), (1.0, 0.4))),
}


def paint(rng: Random) -> Color:
    """The colour of a car: mostly grey, white or black, sometimes bright."""
    if rng.random() < 0.45:
        return tint(rng, (0.5, 0.7), (0.0, 0.1), (0.12, 0.97))
    return tint(rng, (0, 1), (0.5, 0.95), (0.3, 0.9))


def car(mesh: Mesh, rng: Random, u: float, s: float, away: bool, eye: float) -> None:
    """A car whose near end is at ``s``; ``away`` shows its tail, otherwise its front; seen from lateral ``eye``."""
    kind = rng.choice(list(PROFILES))
    length, height, profile = PROFILES[kind]
    color, half = paint(rng), 0.9
    at = [((x if away else 1 - x) * length + s, h) for x, h in profile]
    mesh.add(flat(u - 1.0, u + 1.0, 0.0, s - 0.25, s + length + 0.2), ROAD, BLACK, Material.SHADOW, Facing.UP)
    _tops(mesh, at, u, half, color, height)
    if abs(eye - u) > half:
        _flank(mesh, at, u + (half if eye > u else -half), s, length, height, color, Facing.RIGHT if eye > u else Facing.LEFT)
    _end(mesh, u, half, s, height, color, away, at)


def _tops(mesh: Mesh, at: list[tuple[float, float]], u: float, half: float, color: Color, height: float) -> None:
    panes = list(zip(at, at[1:], strict=False))
    for (s0, h0), (s1, h1) in sorted(panes, key=lambda pair: -(pair[0][0] + pair[1][0])):
        steep = abs(h1 - h0) > 0.25 * abs(s1 - s0)
        glass = steep and max(h0, h1) > 0.85 * height and abs(s1 - s0) > 0.1
        squeeze = [half - 0.25 * max(h - 1.0, 0) for h in (h0, h1)]
        corners = [(u - squeeze[0], h0, s0), (u + squeeze[0], h0, s0), (u + squeeze[1], h1, s1), (u - squeeze[1], h1, s1)]
        mesh.add(corners, CAR, GLASS if glass else color, facing=Facing.CAMERA if steep else Facing.UP)


def _flank(
    mesh: Mesh, at: list[tuple[float, float]], u: float, s: float, length: float, height: float, color: Color, facing: Facing
) -> None:
    lower = [(u, 0.3, at[-1][0]), (u, 0.3, at[0][0])]
    mesh.add([(u, h, p) for p, h in at] + lower, CAR, shade(color, 0.9), facing=facing)
    waist, top = 0.62 * height, 0.93 * height
    cabin = sorted(p for p, h in at if h > 0.9 * height)
    front, back = cabin[0], cabin[-1]
    mesh.add([(u, waist, front - 0.2), (u, waist, back + 0.2), (u, top, back - 0.1), (u, top, front + 0.1)], CAR, GLASS, facing=facing)
    for wheel in (s + 0.18 * length, s + 0.8 * length):
        rim = [(u, h, wheel + p) for p, h, _ in disc(0, 0.33, 0, 0.33)]
        mesh.add(rim, CAR, (0.01, 0.01, 0.01), facing=facing)


def _end(
    mesh: Mesh, u: float, half: float, s: float, height: float, color: Color, away: bool, at: list[tuple[float, float]]
) -> None:
    hood = max(h for p, h in at if p < s + 0.05)
    hood = min(hood, 1.05)
    mesh.add(upright(u - half, u + half, 0.3, hood, s), CAR, shade(color, 0.85))
    mesh.add(upright(u - half, u + half, 0.18, 0.42, s), CAR, (0.02, 0.02, 0.02))
    if height > 2 and away:
        mesh.add(upright(u - 0.7, u + 0.7, 1.25, 1.85, s), CAR, GLASS)
    glow: Color = (1.6, 0.05, 0.03) if away else (5.0, 4.7, 4.0)
    body: Color = (0.4, 0.01, 0.01) if away else (0.8, 0.8, 0.75)
    for left, right in ((u - half, u - half + 0.36), (u + half - 0.36, u + half)):
        mesh.add(upright(left, right, hood - 0.3, hood - 0.1, s), CAR, body, Material.LAMP, glow=glow)
    mesh.add(upright(u - 0.26, u + 0.26, 0.45, 0.57, s), CAR, (0.75, 0.75, 0.7))
    for tyre in (u - half + 0.15, u + half - 0.15):
        mesh.add(upright(tyre - 0.12, tyre + 0.12, 0.0, 0.3, s), CAR, (0.008, 0.008, 0.008))
