"""Buildings, plants and street furniture beside a street or a forest road, built in lots of equal length."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld import furniture, houses, plants
from semla_ros.streetworld.layout import StreetLayout
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import shade

LOTS = ("building", "wall", "fence", "hedge", "park")


def lot(layout: StreetLayout, seed: int, side: int, index: int) -> tuple[str, float, Random]:
    """Properties of one lot.

    Args:
        layout: Layout of the street.
        seed: Seed of the street.
        side: +1 for the right side, -1 for the left side.
        index: Number of the lot along the street.

    Returns:
        Kind of the lot, height of its shadow in metres, and the random generator for its details.
    """
    rng = Random(f"lot/{seed}/{side}/{index}")
    if layout.place == "forest":
        return "forest", rng.uniform(6, 14), rng
    kind = rng.choices(LOTS, layout.mix)[0]
    tall = rng.choice([rng.uniform(4, 8), rng.uniform(8, 20)])
    return kind, tall if kind == "building" else 2.0, rng


def build_lot(mesh: Mesh, layout: StreetLayout, seed: int, side: int, index: int) -> None:
    """Adds one lot and the street furniture in front of it. See `lot` for the arguments."""
    kind, height, rng = lot(layout, seed, side, index)
    s0, s1, u = index * layout.cell, (index + 1) * layout.cell, layout.front
    mesh.begin_object(kind, s0, 0, layout.cell)
    if kind == "forest":
        _woods(mesh, layout, rng, side, s0)
    elif kind == "building":
        houses.building(mesh, rng, side, u, s0, s1 - rng.choice([0.0, 0.0, 1.5]), height)
    else:
        _garden(mesh, layout, rng, side, s0, kind)
    if kind != "forest":
        _furniture(mesh, layout, rng, side, index)


def _garden(mesh: Mesh, layout: StreetLayout, rng: Random, side: int, s0: float, kind: str) -> None:
    """Adds trees and a wall, fence, hedge or bush, and at random a house behind them."""
    u, s1, cell = layout.front, s0 + layout.cell, layout.cell
    if rng.random() < 0.6:
        houses.building(mesh, rng, side, u + 7.0, s0, s1, rng.uniform(4, 12))
    for _ in range(rng.randrange(1, 4) + (3 if kind == "park" else 0)):
        where = s0 + rng.uniform(1, cell - 1)
        mesh.begin_object("tree", where, 1, cell)
        plants.tree(mesh, rng, side * (u + rng.uniform(1.5, 6)), where, rng.uniform(4, 9), rng.random() < 0.25)
    mesh.begin_object(kind, s0, 2, cell)
    if kind == "wall":
        houses.barrier(mesh, rng, side, u, s0, s1)
    elif kind == "fence":
        houses.fence(mesh, rng, side, u, s0, s1)
    elif kind == "hedge":
        plants.hedge(mesh, rng, side, u, s0, s1, rng.uniform(1.0, 2.4))
    else:
        plants.bush(mesh, rng, side * (u + 0.8), s0 + rng.uniform(2, 10), rng.uniform(1, 2))


def _furniture(mesh: Mesh, layout: StreetLayout, rng: Random, side: int, index: int) -> None:
    """Adds lamps, signs, traffic lights, trees and posts at the kerb."""
    s0, kerb, cell = index * layout.cell, side * (layout.road + 0.45), layout.cell
    if index % 2 == (side > 0):
        mesh.begin_object("lamp", s0 + 6, 3, cell)
        furniture.lamp_post(mesh, rng, side, kerb, s0 + 6, (0.2, 0.2, 0.2))
    if rng.random() < 0.3:
        mesh.begin_object("sign", s0 + 3, 3, cell)
        furniture.sign(mesh, rng, kerb, s0 + 3)
    if index % 4 == 0:
        mesh.begin_object("traffic light", s0 + 1.5, 3, cell)
        furniture.traffic_light(mesh, rng, side, kerb, s0 + 1.5, Random(f"signal/{index}").randrange(3))
    if layout.walk > 2.4 and rng.random() < 0.3:
        mesh.begin_object("tree", s0 + 9, 3, cell)
        plants.tree(mesh, rng, side * (layout.road + 0.8), s0 + 9, rng.uniform(4.5, 7.5))
    if rng.random() < 0.35:
        for i in range(3):
            mesh.begin_object("pole", s0 + 4 + 2 * i, 3, cell)
            furniture.post(mesh, rng, kerb, s0 + 4 + 2 * i, 1.0, 0.08)


def _woods(mesh: Mesh, layout: StreetLayout, rng: Random, side: int, s0: float) -> None:
    """Adds trees and bushes in front of a closed background of leaves."""
    cell, edge = layout.cell, layout.road
    backdrop = [(side * (edge + 12), rng.uniform(6, 11), s0 + cell * (1 - i / 6)) for i in range(7)]
    mesh.add(
        [(side * (edge + 12), 0, s0), (side * (edge + 12), 0, s0 + cell), *backdrop],
        LABEL["vegetation"],
        shade(plants.leaves(rng), 0.35),
        Material.FOLIAGE,
        Facing.ROUND,
    )
    spots = sorted(((rng.uniform(1.6, 11), s0 + rng.uniform(0, cell)) for _ in range(8)), key=lambda spot: -spot[1])
    for out, s in spots:
        mesh.begin_object("tree", s, 1, cell)
        plants.tree(mesh, rng, side * (edge + out), s, rng.uniform(6, 15), rng.random() < 0.6)
    for _ in range(2):
        s = s0 + rng.uniform(0, cell)
        mesh.begin_object("bush", s, 2, cell)
        plants.bush(mesh, rng, side * (edge + rng.uniform(1.0, 2.5)), s, rng.uniform(0.6, 1.6))
    _roadside(mesh, layout, rng, side, s0)


def _roadside(mesh: Mesh, layout: StreetLayout, rng: Random, side: int, s0: float) -> None:
    """Adds posts, signs and fences beside a forest road."""
    cell, edge = layout.cell, side * (layout.road + 0.5)
    mesh.begin_object("pole", s0 + 6, 3, cell)
    furniture.post(mesh, rng, edge, s0 + 6, 1.0, 0.07, (0.8, 0.8, 0.78))
    if rng.random() < 0.12:
        mesh.begin_object("sign", s0 + 3, 3, cell)
        furniture.sign(mesh, rng, edge, s0 + 3)
    if rng.random() < 0.25:
        mesh.begin_object("fence", s0, 3, cell)
        houses.fence(mesh, rng, side, layout.road + 0.7, s0, s0 + cell)
    if rng.random() < 0.2:
        mesh.begin_object("pole", s0 + 9, 2, cell)
        furniture.post(mesh, rng, side * (layout.road + 1.8), s0 + 9, 7.5, 0.12, (0.1, 0.06, 0.03))
