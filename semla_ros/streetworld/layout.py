"""Cross-section and bends of a street, a forest road or a corridor."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
PLACES = ("street", "forest", "corridor")


@dataclass(frozen=True, slots=True)
class StreetLayout:
    """Cross-section and bends of a place. Lengths are in metres.

    Attributes:
        place: Kind of place, one of `PLACES`.
        road: Half the width of the road, or of the corridor's floor.
        walk: Width of each pavement; 0 without pavements.
        cell: Length of a lot along the street.
        bends: Sine bends of the centre line: amplitude, wavelength / (2 pi) and phase (rad) of each.
        parking: Probability of a parked car in each parking slot.
        traffic: Probability of a car in each slot of a lane.
        people: Probability of a pedestrian in each slot of a pavement.
        mix: Relative frequencies of the kinds of lots, in the order of `lots.LOTS`.
        ceiling: Height of the ceiling; 0 outdoors.
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
        """Lateral position of the middle of the right lane; 0 in a corridor."""
        driving = self.road - (1.95 if self.parking else 0.0)
        return driving / 2 if self.place != "corridor" else 0.0


def street_layout(place: str, seed: int) -> StreetLayout:
    """Draws the layout of a place, one of `PLACES`. The same seed gives the same layout."""
    rng = Random(f"layout/{place}/{seed}")
    bends = tuple((rng.uniform(0, a), w, rng.uniform(0, 6.28)) for a, w in ((9.0, 75.0), (2.5, 38.0)))
    road = rng.choice([rng.uniform(3.2, 4.2), rng.uniform(4.6, 6.0), rng.uniform(6.0, 7.5)])
    mix = tuple(rng.uniform(0.1, 1.0) * weight for weight in (4.0, 1.4, 1.4, 1.0, 1.0))
    street = StreetLayout(
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


def bend(layout: StreetLayout, s: float) -> tuple[float, float]:
    """Lateral position in metres and slope of the centre line at ``s``."""
    value = sum(a * math.sin(s / w + p) for a, w, p in layout.bends)
    slope = sum(a / w * math.cos(s / w + p) for a, w, p in layout.bends)
    return value, slope


def centerline(layout: StreetLayout, s: Array) -> Array:
    """Lateral position of the centre line at ``s``, metres; an array of any shape."""
    total = np.zeros_like(s)
    for amplitude, wave, phase in layout.bends:
        total += np.float32(amplitude) * np.sin(s / np.float32(wave) + np.float32(phase))
    return total
