"""Three places to drive through, lot by lot: street, forest road, corridor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

from semla_ros.streetworld import things
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh

PLACES = ("street", "forest", "corridor")


@dataclass(frozen=True, slots=True)
class Layout:
    """The cross-section of a place and how it winds; metres.

    Attributes:
        place: One of `PLACES`.
        road: Half the width of the road (of the corridor's floor).
        walk: Width of each pavement; 0 where there is none.
        cell: Length of a lot.
        bends: Amplitude, wavelength / 2 pi and phase of two sine bends.
        parking: Chance of a parked car on a lot's side.
        traffic: Chance of a car in each slot of a lane.
        people: Chance of a pedestrian in each slot of a pavement.
        mix: Weights of the lots: building, wall, fence, hedge, park.
        ceiling: Height of the ceiling, 0 under the open sky.
        grain: Seed of the ground's texture.
    """

    place: str
    road: float
    walk: float
    cell: float
    bends: tuple[tuple[float, float, float], ...]
    parking: float
    traffic: float
    people: float
    mix: tuple[float, ...]
    ceiling: float = 0.0
    grain: int = 0

    @property
    def front(self) -> float:
        """Distance of the building line from the centre line."""
        return self.road + self.walk

    @property
    def lane(self) -> float:
        """Lateral position of the right lane's middle."""
        driving = self.road - (1.95 if self.parking else 0.0)
        return driving / 2 if self.place != "corridor" else 0.0


def layout(place: str, seed: int) -> Layout:
    """The cross-section of the place that this seed gives."""
    rng = Random(f"layout/{place}/{seed}")
    bends = tuple((rng.uniform(0, a), w, rng.uniform(0, 6.28)) for a, w in ((9.0, 75.0), (2.5, 38.0)))
    road = rng.choice([rng.uniform(3.2, 4.2), rng.uniform(4.6, 6.0), rng.uniform(6.0, 7.5)])
    mix = tuple(rng.uniform(0.1, 1.0) * weight for weight in (4.0, 1.4, 1.4, 1.0, 1.0))
    street = Layout(
        place, road, rng.uniform(1.8, 4.2), 12.0, bends, rng.uniform(0, 0.6) if road > 4.5 else 0.0,
        rng.uniform(0.1, 0.6), rng.uniform(0.1, 0.7), mix, grain=rng.randrange(1000),
    )
    if place == "forest":
        return replace(street, road=rng.uniform(2.6, 4.0), walk=0.0, parking=0.0, traffic=0.25, people=0.12)
    if place == "corridor":
        return replace(street, road=rng.uniform(1.3, 2.6), walk=0.0, cell=4.0, bends=(), parking=0.0, traffic=0.0,
                       people=rng.uniform(0.15, 0.5), ceiling=rng.uniform(2.5, 3.6))
    return street


def bend(plan: Layout, s: float) -> tuple[float, float]:
    """Lateral position of the centre line at ``s`` and its slope."""
    value = sum(a * math.sin(s / w + p) for a, w, p in plan.bends)
    slope = sum(a / w * math.cos(s / w + p) for a, w, p in plan.bends)
    return value, slope


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
        things.building(mesh, rng, side, u, s0, s1 - rng.choice([0.0, 0.0, 1.5]), height)
    else:
        _garden(mesh, plan, rng, side, s0, kind)
    if kind != "forest":
        _furniture(mesh, plan, rng, side, index)


def _garden(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float, kind: str) -> None:
    u, s1, cell = plan.front, s0 + plan.cell, plan.cell
    if rng.random() < 0.6:
        things.building(mesh, rng, side, u + 7.0, s0, s1, rng.uniform(4, 12))
    for _ in range(rng.randrange(1, 4) + (3 if kind == "park" else 0)):
        where = s0 + rng.uniform(1, cell - 1)
        mesh.begin("tree", where, 1, cell)
        things.tree(mesh, rng, side * (u + rng.uniform(1.5, 6)), where, rng.uniform(4, 9), rng.random() < 0.25)
    mesh.begin(kind, s0, 2, cell)
    if kind == "wall":
        things.barrier(mesh, rng, side, u, s0, s1)
    elif kind == "fence":
        things.fence(mesh, rng, side, u, s0, s1)
    elif kind == "hedge":
        things.hedge(mesh, rng, side, u, s0, s1, rng.uniform(1.0, 2.4))
    else:
        things.bush(mesh, rng, side * (u + 0.8), s0 + rng.uniform(2, 10), rng.uniform(1, 2))


def _furniture(mesh: Mesh, plan: Layout, rng: Random, side: int, index: int) -> None:
    s0, kerb, cell = index * plan.cell, side * (plan.road + 0.45), plan.cell
    if index % 2 == (side > 0):
        mesh.begin("lamp", s0 + 6, 3, cell)
        things.lamp_post(mesh, rng, side, kerb, s0 + 6, (0.2, 0.2, 0.2))
    if rng.random() < 0.3:
        mesh.begin("sign", s0 + 3, 3, cell)
        things.sign(mesh, rng, kerb, s0 + 3)
    if index % 4 == 0:
        mesh.begin("traffic light", s0 + 1.5, 3, cell)
        things.traffic_light(mesh, rng, side, kerb, s0 + 1.5, Random(f"signal/{index}").randrange(3))
    if plan.walk > 2.4 and rng.random() < 0.3:
        mesh.begin("tree", s0 + 9, 3, cell)
        things.tree(mesh, rng, side * (plan.road + 0.8), s0 + 9, rng.uniform(4.5, 7.5))
    if rng.random() < 0.35:
        for i in range(3):
            mesh.begin("pole", s0 + 4 + 2 * i, 3, cell)
            things.post(mesh, rng, kerb, s0 + 4 + 2 * i, 1.0, 0.08)


def _woods(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float) -> None:
    cell, edge = plan.cell, plan.road
    backdrop = [(side * (edge + 12), rng.uniform(6, 11), s0 + cell * (1 - i / 6)) for i in range(7)]
    mesh.add([(side * (edge + 12), 0, s0), (side * (edge + 12), 0, s0 + cell), *backdrop], LABEL["vegetation"],
             things.shade(things.leaves(rng), 0.35), Material.FOLIAGE, Facing.ROUND)
    spots = sorted(((rng.uniform(1.6, 11), s0 + rng.uniform(0, cell)) for _ in range(8)), key=lambda spot: -spot[1])
    for out, s in spots:
        mesh.begin("tree", s, 1, cell)
        things.tree(mesh, rng, side * (edge + out), s, rng.uniform(6, 15), rng.random() < 0.6)
    for _ in range(2):
        s = s0 + rng.uniform(0, cell)
        mesh.begin("bush", s, 2, cell)
        things.bush(mesh, rng, side * (edge + rng.uniform(1.0, 2.5)), s, rng.uniform(0.6, 1.6))
    _roadside(mesh, plan, rng, side, s0)


def _roadside(mesh: Mesh, plan: Layout, rng: Random, side: int, s0: float) -> None:
    cell, edge = plan.cell, side * (plan.road + 0.5)
    mesh.begin("pole", s0 + 6, 3, cell)
    things.post(mesh, rng, edge, s0 + 6, 1.0, 0.07, (0.8, 0.8, 0.78))
    if rng.random() < 0.12:
        mesh.begin("sign", s0 + 3, 3, cell)
        things.sign(mesh, rng, edge, s0 + 3)
    if rng.random() < 0.25:
        mesh.begin("fence", s0, 3, cell)
        things.fence(mesh, rng, side, plan.road + 0.7, s0, s0 + cell)
    if rng.random() < 0.2:
        mesh.begin("pole", s0 + 9, 2, cell)
        things.post(mesh, rng, side * (plan.road + 1.8), s0 + 9, 7.5, 0.12, (0.1, 0.06, 0.03))


def build_corridor(mesh: Mesh, plan: Layout, seed: int, side: int, index: int) -> None:
    """Adds one stretch of a corridor: wall, perhaps a door (building), pillar, sign; ceiling (building) and lamps."""
    rng = Random(f"corridor/{seed}/{side}/{index}")
    color = things.tint(Random(f"paint/{seed}/{side}"), (0.05, 0.6), (0.03, 0.35), (0.55, 0.9))
    s0, s1, u, top, cell = index * plan.cell, (index + 1) * plan.cell, side * plan.road, plan.ceiling, plan.cell
    mesh.begin("wall", s0, 0, cell)
    mesh.add(things.along(u, 0, top, s0, s1), LABEL["wall"], color, facing=things.inward(side))
    mesh.add(things.along(u * 0.998, 0, 0.12, s0, s1), LABEL["wall"], things.shade(color, 0.3), facing=things.inward(side))
    mesh.add(things.flat(0, u, top, s0, s1), LABEL["building"], (0.75, 0.75, 0.72), facing=Facing.CAMERA)
    if index % 2 == 0:
        mesh.begin("lamp", s0, 1, cell)
        panel = things.flat(0, side * 0.35, top - 0.02, s0 + 1.2, s0 + 2.8)
        mesh.add(panel, LABEL["traffic light"], (0.9, 0.9, 0.9), Material.SIGNAL, glow=(2.2, 2.2, 2.1))
    _fittings(mesh, rng, plan, side, s0)


def _fittings(mesh: Mesh, rng: Random, plan: Layout, side: int, s0: float) -> None:
    u, cell, near = side * plan.road, plan.cell, side * plan.road * 0.995
    if rng.random() < 0.45:
        mesh.begin("door", s0, 1, cell)
        wood = things.tint(rng, (0.02, 0.65), (0.15, 0.7), (0.25, 0.7))
        mesh.add(things.along(near, 0, 2.15, s0 + 1, s0 + 2.1), LABEL["building"], wood, facing=things.inward(side))
        mesh.add(things.along(near * 0.997, 1.3, 1.9, s0 + 1.3, s0 + 1.8), LABEL["building"], (0.05, 0.06, 0.07), facing=things.inward(side))
    if rng.random() < 0.3:
        mesh.begin("pole", s0 + 3, 1, cell)
        things.post(mesh, rng, u - side * 0.15, s0 + 3, plan.ceiling, 0.12)
    if rng.random() < 0.25:
        mesh.begin("sign", s0 + 2.5, 1, cell)
        hang = u - side * 0.4
        mesh.add(things.upright(hang - 0.28, hang + 0.28, 1.95, 2.25, s0 + 2.5), LABEL["traffic sign"], *_notice(rng))
    if rng.random() < 0.15:
        mesh.begin("plant", s0 + 3.4, 2, cell)
        things.bush(mesh, rng, u - side * 0.35, s0 + 3.4, 0.55)
    if rng.random() < 0.12:
        mesh.begin("fence", s0, 2, cell)
        rail = things.along(u - side * 0.12, 0.8, 1.0, s0, s0 + cell)
        mesh.add(rail, LABEL["fence"], (0.5, 0.3, 0.12), Material.SLATS, things.inward(side))


def _notice(rng: Random) -> tuple[tuple[float, float, float], Material, Facing, tuple[float, float, float]]:
    color = rng.choice([(0.02, 0.45, 0.15), (0.05, 0.15, 0.6), (0.75, 0.6, 0.05)])
    return color, Material.SIGNAL, Facing.CAMERA, things.shade(color, 0.8)


def build_end(mesh: Mesh, plan: Layout, s: float) -> None:
    """Closes a corridor with a wall and a door."""
    mesh.begin("wall", s, 0, plan.cell)
    mesh.add(things.upright(-plan.road, plan.road, 0, plan.ceiling, s), LABEL["wall"], (0.5, 0.5, 0.48))
    mesh.add(things.upright(-0.6, 0.6, 0, 2.1, s), LABEL["building"], (0.2, 0.12, 0.07))
