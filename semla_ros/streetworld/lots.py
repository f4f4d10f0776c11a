"""What stands beside a street or a forest road, lot by lot."""

from __future__ import annotations

from random import Random

from semla_ros.streetworld import furniture, houses, plants
from semla_ros.streetworld.layout import Layout
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import shade

LOTS = ("building", "wall", "fence", "hedge", "park")


def lot(plan: Layout, seed: int, side: int, index: int) -> tuple[str, float, Random]:
    """What stands on a lot, how high it casts shadow, and the generator its details come from."""
    rng = Random(f"lot/{seed}/{side}/{index}")
    if plan.place == "forest":
        return "forest", rng.uniform(6, 14), rng
    kind = rng.choices(LOTS, plan.mix)[0]
    tall = rng.choice([rng.uniform(4, 8), rng.uniform(8, 20)])
    return kind, tall if kind == "building" else 2.0, rng


def build_lot(mesh: Mesh, plan: Layout, seed: int, side: int, index: int) -> None:
    """Adds one lot of a street or forest road, with what stands before it."""
    kind, height, rng = lot(plan, seed, side, index)
    s0, s1, u = index * plan.cell, (index + 1) * plan.cell, plan.front
    mesh.begin(kind, s0, 0, plan.cell)
    if kind == "forest":
        _woods(mesh, plan, rng, side, s0)
    elif kind == "building":
        houses.building(mesh, rng, side, u, s0, s1 - rng.choice([0.0, 0.0, 1.5]), height)
    else:
        _garden(mesh, plan, rng, side, s0, kind)
    if kind != "forest":
        _furniture(mesh, plan, rng, side, index)


def _garden(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float, kind: str) -> None:
    u, s1, cell = plan.front, s0 + plan.cell, plan.cell
    if rng.random() < 0.6:
        houses.building(mesh, rng, side, u + 7.0, s0, s1, rng.uniform(4, 12))
    for _ in range(rng.randrange(1, 4) + (3 if kind == "park" else 0)):
        where = s0 + rng.uniform(1, cell - 1)
        mesh.begin("tree", where, 1, cell)
        plants.tree(mesh, rng, side * (u + rng.uniform(1.5, 6)), where, rng.uniform(4, 9), rng.random() < 0.25)
    mesh.begin(kind, s0, 2, cell)
    if kind == "wall":
        houses.barrier(mesh, rng, side, u, s0, s1)
    elif kind == "fence":
        houses.fence(mesh, rng, side, u, s0, s1)
    elif kind == "hedge":
        plants.hedge(mesh, rng, side, u, s0, s1, rng.uniform(1.0, 2.4))
    else:
        plants.bush(mesh, rng, side * (u + 0.8), s0 + rng.uniform(2, 10), rng.uniform(1, 2))


def _furniture(mesh: Mesh, plan: Layout, rng: Random, side: int, index: int) -> None:
    s0, kerb, cell = index * plan.cell, side * (plan.road + 0.45), plan.cell
    if index % 2 == (side > 0):
        mesh.begin("lamp", s0 + 6, 3, cell)
        furniture.lamp_post(mesh, rng, side, kerb, s0 + 6, (0.2, 0.2, 0.2))
    if rng.random() < 0.3:
        mesh.begin("sign", s0 + 3, 3, cell)
        furniture.sign(mesh, rng, kerb, s0 + 3)
    if index % 4 == 0:
        mesh.begin("traffic light", s0 + 1.5, 3, cell)
        furniture.traffic_light(mesh, rng, side, kerb, s0 + 1.5, Random(f"signal/{index}").randrange(3))
    if plan.walk > 2.4 and rng.random() < 0.3:
        mesh.begin("tree", s0 + 9, 3, cell)
        plants.tree(mesh, rng, side * (plan.road + 0.8), s0 + 9, rng.uniform(4.5, 7.5))
    if rng.random() < 0.35:
        for i in range(3):
            mesh.begin("pole", s0 + 4 + 2 * i, 3, cell)
            furniture.post(mesh, rng, kerb, s0 + 4 + 2 * i, 1.0, 0.08)


def _woods(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float) -> None:
    cell, edge = plan.cell, plan.road
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
        mesh.begin("tree", s, 1, cell)
        plants.tree(mesh, rng, side * (edge + out), s, rng.uniform(6, 15), rng.random() < 0.6)
    for _ in range(2):
        s = s0 + rng.uniform(0, cell)
        mesh.begin("bush", s, 2, cell)
        plants.bush(mesh, rng, side * (edge + rng.uniform(1.0, 2.5)), s, rng.uniform(0.6, 1.6))
    _roadside(mesh, plan, rng, side, s0)


def _roadside(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float) -> None:
    cell, edge = plan.cell, side * (plan.road + 0.5)
    mesh.begin("pole", s0 + 6, 3, cell)
    furniture.post(mesh, rng, edge, s0 + 6, 1.0, 0.07, (0.8, 0.8, 0.78))
    if rng.random() < 0.12:
        mesh.begin("sign", s0 + 3, 3, cell)
        furniture.sign(mesh, rng, edge, s0 + 3)
    if rng.random() < 0.25:
        mesh.begin("fence", s0, 3, cell)
        houses.fence(mesh, rng, side, plan.road + 0.7, s0, s0 + cell)
    if rng.random() < 0.2:
        mesh.begin("pole", s0 + 9, 2, cell)
        furniture.post(mesh, rng, side * (plan.road + 1.8), s0 + 9, 7.5, 0.12, (0.1, 0.06, 0.03))
