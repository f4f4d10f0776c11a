"""An indoor corridor, built in segments. Ceiling and doors are labelled building, ceiling lamps traffic light."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld import furniture, plants
from semla_ros.streetworld.layout import StreetLayout
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import along, flat, inward, shade, tint, upright


def build_corridor(mesh: Mesh, layout: StreetLayout, seed: int, side: int, index: int) -> None:
    """Adds one segment of a corridor: wall, ceiling and lamp, and at random a door, pillar, sign, plant or handrail.

    Args:
        mesh: Mesh to extend.
        layout: Dimensions of the corridor.
        seed: Seed of the corridor.
        side: +1 for the right wall, -1 for the left wall.
        index: Number of the segment along the corridor.
    """
    rng = Random(f"corridor/{seed}/{side}/{index}")
    color = tint(Random(f"paint/{seed}/{side}"), (0.05, 0.6), (0.03, 0.35), (0.55, 0.9))
    cell, u, top = layout.cell, side * layout.road, layout.ceiling
    s0, s1 = index * cell, (index + 1) * cell
    mesh.begin_object("wall", s0, 0, cell)
    mesh.add(along(u, 0, top, s0, s1), LABEL["wall"], color, facing=inward(side))
    mesh.add(along(u * 0.998, 0, 0.12, s0, s1), LABEL["wall"], shade(color, 0.3), facing=inward(side))
    mesh.add(flat(0, u, top, s0, s1), LABEL["building"], (0.75, 0.75, 0.72), facing=Facing.CAMERA)
    if index % 2 == 0:
        mesh.begin_object("lamp", s0, 1, cell)
        panel = flat(0, side * 0.35, top - 0.02, s0 + 1.2, s0 + 2.8)
        mesh.add(panel, LABEL["traffic light"], (0.9, 0.9, 0.9), Material.SIGNAL, glow=(2.2, 2.2, 2.1))
    _fittings(mesh, rng, layout, side, s0)


def _fittings(mesh: Mesh, rng: Random, layout: StreetLayout, side: int, s0: float) -> None:
    u, cell, near = side * layout.road, layout.cell, side * layout.road * 0.995
    if rng.random() < 0.45:
        mesh.begin_object("door", s0, 1, cell)
        wood = tint(rng, (0.02, 0.65), (0.15, 0.7), (0.25, 0.7))
        mesh.add(along(near, 0, 2.15, s0 + 1, s0 + 2.1), LABEL["building"], wood, facing=inward(side))
        mesh.add(
            along(near * 0.997, 1.3, 1.9, s0 + 1.3, s0 + 1.8),
            LABEL["building"],
            (0.05, 0.06, 0.07),
            facing=inward(side),
        )
    if rng.random() < 0.3:
        mesh.begin_object("pole", s0 + 3, 1, cell)
        furniture.post(mesh, rng, u - side * 0.15, s0 + 3, layout.ceiling, 0.12)
    if rng.random() < 0.25:
        mesh.begin_object("sign", s0 + 2.5, 1, cell)
        hang = u - side * 0.4
        mesh.add(upright(hang - 0.28, hang + 0.28, 1.95, 2.25, s0 + 2.5), LABEL["traffic sign"], *_notice(rng))
    if rng.random() < 0.15:
        mesh.begin_object("plant", s0 + 3.4, 2, cell)
        plants.bush(mesh, rng, u - side * 0.35, s0 + 3.4, 0.55)
    if rng.random() < 0.12:
        mesh.begin_object("fence", s0, 2, cell)
        rail = along(u - side * 0.12, 0.8, 1.0, s0, s0 + cell)
        mesh.add(rail, LABEL["fence"], (0.5, 0.3, 0.12), Material.SLATS, inward(side))


def _notice(rng: Random) -> tuple[tuple[float, float, float], Material, Facing, tuple[float, float, float]]:
    color = rng.choice([(0.02, 0.45, 0.15), (0.05, 0.15, 0.6), (0.75, 0.6, 0.05)])
    return color, Material.SIGNAL, Facing.CAMERA, shade(color, 0.8)


def build_end(mesh: Mesh, layout: StreetLayout, s: float) -> None:
    """Closes the corridor with a wall and a door at position ``s``, m."""
    mesh.begin_object("wall", s, 0, layout.cell)
    mesh.add(upright(-layout.road, layout.road, 0, layout.ceiling, s), LABEL["wall"], (0.5, 0.5, 0.48))
    mesh.add(upright(-0.6, 0.6, 0, 2.1, s), LABEL["building"], (0.2, 0.12, 0.07))
