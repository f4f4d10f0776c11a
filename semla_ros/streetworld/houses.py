"""Houses, walls and fences along the pavement."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import along, flat, inward, shade, tint, upright


def building(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float, height: float) -> None:
    """Adds a house from ``s0`` to ``s1`` with its facade at distance ``u`` from the centre line, m."""
    color = (
        tint(rng, (0.0, 0.17), (0.05, 0.5), (0.4, 0.92))
        if rng.random() < 0.8
        else tint(rng, (0, 1), (0, 0.3), (0.35, 0.8))
    )
    depth, near, far = 11.0, side * u, side * (u + 11.0)
    mesh.add(upright(near, far, 0, height, s0), LABEL["building"], shade(color, 0.9), Material.FACADE)
    mesh.add(along(near, 0, height, s0, s1), LABEL["building"], color, Material.FACADE, inward(side))
    roof = tint(rng, (0.0, 0.08), (0.1, 0.6), (0.25, 0.55))
    if rng.random() < 0.6:
        top, ridge = height + rng.uniform(1.5, 4.0), side * (u + depth / 2)
        mesh.add([(near, height, s0), (far, height, s0), (ridge, top, s0)], LABEL["building"], shade(color, 0.85))
        mesh.add(
            [(near, height, s0), (near, height, s1), (ridge, top, s1), (ridge, top, s0)],
            LABEL["building"],
            roof,
            facing=Facing.UP,
        )
    else:
        mesh.add(along(near, height, height + 0.5, s0, s1), LABEL["building"], roof, facing=inward(side))


def barrier(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float) -> None:
    """Adds a brick wall along the pavement."""
    height = rng.uniform(1.5, 3.0)
    color = tint(rng, (0.0, 0.12), (0.05, 0.55), (0.35, 0.75))
    mesh.add(along(side * u, 0, height, s0, s1), LABEL["wall"], color, Material.BRICK, inward(side))
    mesh.add(flat(side * u, side * (u + 0.4), height, s0, s1), LABEL["wall"], shade(color, 1.2), facing=Facing.UP)
    mesh.add(upright(side * u, side * (u + 0.4), 0, height, s0), LABEL["wall"], color, Material.BRICK)


def fence(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float) -> None:
    """Adds a fence of slats along the pavement."""
    height = rng.uniform(1.0, 1.8)
    color = rng.choice(
        [
            tint(rng, (0.05, 0.12), (0.3, 0.6), (0.4, 0.7)),
            tint(rng, (0, 1), (0, 0.08), (0.55, 0.95)),
            tint(rng, (0.25, 0.4), (0.3, 0.6), (0.2, 0.45)),
        ]
    )
    mesh.add(along(side * u, 0, height, s0, s1), LABEL["fence"], color, Material.SLATS, inward(side))
