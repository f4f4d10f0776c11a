"""Poles, street lamps, traffic signs and traffic lights."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld.mesh import BLACK, LABEL, Color, Facing, Material, Mesh
from semla_ros.streetworld.shapes import disc, shade, tint, upright


def post(
    mesh: Mesh, rng: Random, u: float, s: float, height: float, radius: float = 0.07, color: Color | None = None
) -> None:
    """Adds a plain pole; ``height`` and ``radius`` in metres."""
    grey = color or tint(rng, (0, 1), (0, 0.1), (0.25, 0.75))
    mesh.add(upright(u - radius, u + radius, 0, height, s), LABEL["pole"], grey, facing=Facing.ROUND)


def lamp_post(mesh: Mesh, rng: Random, side: int, u: float, s: float, color: Color) -> None:
    """Adds a street lamp with an arm over the road."""
    height = 6.5
    post(mesh, rng, u, s, height, 0.09, color)
    mesh.add(upright(u, u - side * 1.6, height - 0.12, height, s), LABEL["pole"], color)
    head = upright(u - side * 1.2, u - side * 2.0, height - 0.28, height - 0.1, s)
    mesh.add(head, LABEL["pole"], (0.7, 0.7, 0.65), Material.LAMP, glow=(4.0, 3.2, 1.9))


SIGN_COLORS: tuple[tuple[Color, Color], ...] = (
    ((0.7, 0.02, 0.03), (0.9, 0.9, 0.9)),
    ((0.02, 0.12, 0.6), (0.85, 0.85, 0.9)),
    ((0.85, 0.6, 0.02), (0.02, 0.02, 0.02)),
    ((0.02, 0.3, 0.12), (0.85, 0.9, 0.85)),
)


def sign(mesh: Mesh, rng: Random, u: float, s: float) -> None:
    """Adds a traffic sign on a pole: an octagon, a triangle or a square."""
    height, radius = rng.uniform(2.1, 2.8), rng.uniform(0.38, 0.5)
    post(mesh, rng, u, s, height, 0.05)
    rim, face = rng.choice(SIGN_COLORS)
    shape = rng.choice([3, 4, 8, 8])
    for size, color in ((radius, rim), (0.68 * radius, face)):
        corners = (
            upright(u - size, u + size, height - size, height + size, s)
            if shape == 4
            else disc(u, height, s, size, shape)
        )
        if shape == 3:
            corners = [(u - size, height - 0.8 * size, s), (u + size, height - 0.8 * size, s), (u, height + size, s)]
        mesh.add(corners, LABEL["traffic sign"], color)
    if rng.random() < 0.6:
        mesh.add(
            upright(u - 0.12, u + 0.12, height - 0.2 * radius, height + 0.2 * radius, s), LABEL["traffic sign"], rim
        )


SIGNALS: tuple[Color, ...] = ((3.0, 0.08, 0.05), (2.6, 1.3, 0.05), (0.1, 2.6, 0.6))


def traffic_light(mesh: Mesh, rng: Random, side: int, u: float, s: float, lit: int) -> None:
    """Adds a traffic light, half of the time with a second head over the lane; ``lit``: 0 red, 1 amber, 2 green."""
    post(mesh, rng, u, s, 3.6, 0.08, (0.12, 0.12, 0.12))
    heads = [(u, 3.2)]
    if rng.random() < 0.5:
        reach = u - side * 3.0
        mesh.add(upright(u, reach, 5.0, 5.15, s), LABEL["pole"], (0.12, 0.12, 0.12))
        mesh.add(upright(u - 0.08, u + 0.08, 3.6, 5.15, s), LABEL["pole"], (0.12, 0.12, 0.12))
        heads.append((reach, 4.8))
    for x, h in heads:
        mesh.add(upright(x - 0.24, x + 0.24, h - 0.65, h + 0.65, s), LABEL["traffic light"], (0.012, 0.014, 0.012))
        for i, color in enumerate(SIGNALS):
            glow = color if i == lit else BLACK
            mesh.add(
                disc(x, h + 0.4 - 0.4 * i, s, 0.17),
                LABEL["traffic light"],
                shade(color, 0.05),
                Material.SIGNAL,
                glow=glow,
            )
