"""A scene (a place at a time, seen from a camera pose) and its mesh."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from semla_ros.streetworld import corridor, lots, people
from semla_ros.streetworld.camera import Pose
from semla_ros.streetworld.cars import Car
from semla_ros.streetworld.layout import StreetLayout
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import tint, upright

VIEW_M = 150.0
CORRIDOR_VIEW_M = 48.0
EGO_SPEED = 8.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A place at a time, seen from a camera pose.

    Attributes:
        layout: Cross-section of the place.
        seed: Seed of the place; the same seed gives the same place.
        pose: Camera pose.
        time_s: Time in seconds; decides where traffic and pedestrians are.
    """

    layout: StreetLayout
    seed: int
    pose: Pose
    time_s: float = 0.0

    def mesh(self) -> Mesh:
        """Builds all faces in view."""
        mesh = Mesh()
        if self.layout.place == "corridor":
            self._corridor(mesh)
        else:
            self._outdoors(mesh)
        self._pedestrians(mesh)
        return mesh

    def _corridor(self, mesh: Mesh) -> None:
        first = int(self.pose.s // self.layout.cell) - 1
        last = first + int(CORRIDOR_VIEW_M // self.layout.cell)
        for index in range(first, last):
            for side in (-1, 1):
                corridor.build_corridor(mesh, self.layout, self.seed, side, index)
        corridor.build_end(mesh, self.layout, last * self.layout.cell)

    def _outdoors(self, mesh: Mesh) -> None:
        first = int(self.pose.s // self.layout.cell) - 1
        for index in range(first, first + int(VIEW_M // self.layout.cell) + 1):
            for side in (-1, 1):
                lots.build_lot(mesh, self.layout, self.seed, side, index)
                self._parked(mesh, side, index)
        self._lane(mesh, self.layout.lane, EGO_SPEED, away=True)
        self._lane(mesh, -self.layout.lane, -9.0, away=False)
        self._skyline(mesh)

    def _parked(self, mesh: Mesh, side: int, index: int) -> None:
        rng = Random(f"parked/{self.seed}/{side}/{index}")
        for slot in (0.5, 6.3):
            if rng.random() < self.layout.parking:
                s = index * self.layout.cell + slot + rng.uniform(0, 1.0)
                self._car(mesh, rng, side * (self.layout.road - 1.05), s, away=side > 0, layer=4)

    def _lane(self, mesh: Mesh, u: float, speed: float, away: bool) -> None:
        """Adds the cars of one lane; all drive at the same ``speed``, m/s along the street."""
        gap, start = 19.0, self.pose.s - speed * self.time_s
        for slot in range(int(start // gap) - 1, int((start + VIEW_M) // gap)):
            rng = Random(f"lane/{self.seed}/{away}/{slot}")
            s = slot * gap + rng.uniform(0, 11) + speed * self.time_s
            clear = s - self.pose.s > (7.0 if away else -6.0)
            if rng.random() < self.layout.traffic and clear:
                self._car(mesh, rng, u + rng.uniform(-0.2, 0.2), s, away, layer=5)

    def _car(self, mesh: Mesh, rng: Random, u: float, s: float, away: bool, layer: int) -> None:
        mesh.begin_object("car", s, layer, self.layout.cell)
        Car.random(rng, u, s, away).build(mesh, self.pose.u)

    def _pedestrians(self, mesh: Mesh) -> None:
        indoors = self.layout.place == "corridor"
        for side in (-1, 1):
            for speed in (1.3, -1.3):
                self._walkers(mesh, side, speed, 5.0 if indoors else 8.0)
        if not indoors:
            self._crossers(mesh)

    def _walkers(self, mesh: Mesh, side: int, speed: float, gap: float) -> None:
        start, reach = self.pose.s - speed * self.time_s, CORRIDOR_VIEW_M if self.layout.place == "corridor" else 70.0
        for slot in range(int(start // gap), int((start + reach) // gap)):
            rng = Random(f"walker/{self.seed}/{side}/{speed}/{slot}")
            here, s, beside = rng.random(), slot * gap + rng.uniform(0, gap) + speed * self.time_s, rng.random()
            if here < self.layout.people and s - self.pose.s > 2.5:
                self._person(mesh, rng, side * self._walkway(beside), s, 1.9 * s)

    def _walkway(self, beside: float) -> float:
        if self.layout.place == "corridor":
            return 0.3 + beside * (self.layout.road - 0.7)
        return self.layout.road + 0.5 + beside * max(self.layout.walk - 1.0, 0.3)

    def _crossers(self, mesh: Mesh) -> None:
        """Adds pedestrians who cross the road and leave it before the camera arrives."""
        gap = 30.0
        for slot in range(int(self.pose.s // gap), int((self.pose.s + 60) // gap) + 1):
            rng = Random(f"crosser/{self.seed}/{slot}")
            here, s, side = rng.random(), slot * gap + rng.uniform(0, gap), rng.choice([-1, 1])
            away = s - self.pose.s
            if here < 0.7 * self.layout.people and away > 3:
                done = min(max((45.0 - away) / 32.0, 0.0), 1.0)
                u = side * (self.layout.road + 0.4) * (1.0 - 2.0 * done)
                self._person(mesh, rng, u, s, 0.6 * away)

    def _person(self, mesh: Mesh, rng: Random, u: float, s: float, phase: float) -> None:
        mesh.begin_object("person", s, 3 if abs(u) > self.layout.road else 4, self.layout.cell)
        people.person(mesh, rng, u, s, phase)

    def _skyline(self, mesh: Mesh) -> None:
        """Closes the view at its far end with blocks of houses or with trees."""
        rng, far = Random(f"skyline/{self.seed}/{int(self.pose.s // 60)}"), self.pose.s + VIEW_M + 5
        mesh.begin_object("skyline", far + 1e4, 0, self.layout.cell)
        wood = self.layout.place == "forest"
        for i in range(-8, 8):
            height = rng.uniform(7, 12) if wood else rng.choice([0.0, 8.0, 14.0]) + rng.uniform(2, 8)
            color = tint(rng, (0.2, 0.35) if wood else (0.0, 0.15), (0.1, 0.4), (0.25, 0.5))
            label = "vegetation" if wood or height < 8 else "building"
            kind = Material.FOLIAGE if label == "vegetation" else Material.FACADE
            mesh.add(upright(i * 14, i * 14 + 14.5, -1, height, far), LABEL[label], color, kind, Facing.CAMERA)
