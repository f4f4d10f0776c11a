"""Trees, hedges and bushes."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld.mesh import LABEL, Color, Facing, Material, Mesh
from semla_ros.streetworld.shapes import blob, shade, tint, upright


def leaves(rng: Random) -> Color:
    """A random colour of foliage, linear RGB."""
    return tint(rng, (0.19, 0.36), (0.35, 0.75), (0.3, 0.58))


def tree(mesh: Mesh, rng: Random, u: float, s: float, size: float, conifer: bool = False) -> None:
    """Adds a tree of height ``size``, m. Trunk and crown are labelled vegetation, as in Cityscapes."""
    color, trunk = leaves(rng), tint(rng, (0.05, 0.1), (0.2, 0.5), (0.2, 0.4))
    girth = 0.025 * size * rng.uniform(0.8, 1.3)
    mesh.add(upright(u - girth, u + girth, 0, 0.6 * size, s), LABEL["vegetation"], trunk, facing=Facing.ROUND)
    if conifer:
        for i in range(4):
            base, reach = size * (0.15 + 0.2 * i), size * (0.24 - 0.05 * i)
            mesh.add(
                [(u - reach, base, s), (u + reach, base, s), (u, base + 0.35 * size, s)],
                LABEL["vegetation"],
                shade(color, 0.7),
                Material.FOLIAGE,
                Facing.ROUND,
            )
        return
    for _ in range(3):
        du, dh = rng.uniform(-0.12, 0.12) * size, rng.uniform(-0.1, 0.12) * size
        outline = blob(rng, u + du, 0.68 * size + dh, s, rng.uniform(0.2, 0.3) * size, rng.uniform(0.2, 0.28) * size)
        mesh.add(outline, LABEL["vegetation"], shade(color, rng.uniform(0.8, 1.2)), Material.FOLIAGE, Facing.ROUND)


def bush(mesh: Mesh, rng: Random, u: float, s: float, size: float) -> None:
    """Adds a bush; ``size`` is about its width, m."""
    mesh.add(
        blob(rng, u, 0.3 * size, s, 0.6 * size, 0.5 * size, 11),
        LABEL["vegetation"],
        leaves(rng),
        Material.FOLIAGE,
        Facing.ROUND,
    )


def hedge(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float, height: float) -> None:
    """Adds a hedge with an irregular top; ``height`` in metres."""
    steps = 7
    top = [(side * u, height * rng.uniform(0.85, 1.1), s1 + (s0 - s1) * i / steps) for i in range(steps + 1)]
    mesh.add(
        [(side * u, 0, s0), (side * u, 0, s1), *top], LABEL["vegetation"], leaves(rng), Material.FOLIAGE, Facing.ROUND
    )
