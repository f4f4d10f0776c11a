"""The cross-section of a place, and how it winds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
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
        place,
        road,
        rng.uniform(1.8, 4.2),
        12.0,
        bends,
        rng.uniform(0, 0.6) if road > 4.5 else 0.0,
        rng.uniform(0.1, 0.6),
        rng.uniform(0.1, 0.7),
        mix,
        grain=rng.randrange(1000),
    )
    if place == "forest":
        return replace(street, road=rng.uniform(2.6, 4.0), walk=0.0, parking=0.0, traffic=0.25, people=0.12)
    if place == "corridor":
        return replace(
            street,
            road=rng.uniform(1.3, 2.6),
            walk=0.0,
            cell=4.0,
            bends=(),
            parking=0.0,
            traffic=0.0,
            people=rng.uniform(0.15, 0.5),
            ceiling=rng.uniform(2.5, 3.6),
        )
    return street


def bend(plan: Layout, s: float) -> tuple[float, float]:
    """Lateral position of the centre line at ``s`` and its slope."""
    value = sum(a * math.sin(s / w + p) for a, w, p in plan.bends)
    slope = sum(a / w * math.cos(s / w + p) for a, w, p in plan.bends)
    return value, slope


def centerline(plan: Layout, s: Array) -> Array:
    """Lateral position of the road's centre line at ``s``, any shape."""
    total = np.zeros_like(s)
    for amplitude, wave, phase in plan.bends:
        total += np.float32(amplitude) * np.sin(s / np.float32(wave) + np.float32(phase))
    return total
