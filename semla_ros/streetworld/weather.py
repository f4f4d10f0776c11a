"""Light and weather as continuous numbers, so that one can pass into another."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weather:
    """Light, weather and lens. Everything is 0 to 1 unless it says otherwise.

    Attributes:
        fog: Extinction beta of the air, 1/m, 0 to 0.2.
        night: 0 by day, 1 in the dark.
        dusk: How warm and low the light is.
        lamps: Whether lamps, windows and car lights are on.
        sun: Direct sunlight; 0 is overcast.
        sun_side: -1 the sun stands on the left, 1 on the right.
        sun_cot: Cotangent of the sun's height, 0.2 to 6: length of a shadow by height.
        sun_front: -1 the sun stands ahead, 1 behind the camera.
        cloud: Cloud cover.
        wet: Water on the ground.
        rain: Drops in the air.
        snow: Snow on ground, roofs and trees.
        flakes: Snow in the air.
        canopy: Light broken by leaves.
        indoor: Light from ceiling lamps alone.
        exposure: Gain of the camera, 0.1 to 10.
        noise: Standard deviation of the read noise, linear light; shot noise goes with it.
        blur: Lens blur, standard deviation in pixels at a width of 384.
        dirt: Stains on the lens.
        hue: Colour cast, -1 cold to 1 warm.
    """

    fog: float = 0.0004
    night: float = 0.0
    dusk: float = 0.0
    lamps: float = 0.0
    sun: float = 0.8
    sun_side: float = 0.0
    sun_cot: float = 1.0
    sun_front: float = 0.3
    cloud: float = 0.3
    wet: float = 0.0
    rain: float = 0.0
    snow: float = 0.0
    flakes: float = 0.0
    canopy: float = 0.0
    indoor: float = 0.0
    exposure: float = 1.0
    noise: float = 0.004
    blur: float = 0.45
    dirt: float = 0.0
    hue: float = 0.0

    @classmethod
    def blend(cls, a: Weather, b: Weather, t: float) -> Weather:
        """The weather on the way from ``a`` (t = 0) to ``b`` (t = 1), linear in every number."""
        return cls(**{f.name: (1 - t) * getattr(a, f.name) + t * getattr(b, f.name) for f in fields(cls)})


def fogged(radiance: Array, depth: Array, beta: float, airlight: Array) -> Array:
    """Koschmieder's law: I = J t + A (1 - t), t = exp(-beta depth).

    Args:
        radiance: J, (H, W, 3) linear light.
        depth: (H, W) metres.
        beta: Extinction, 1/m.
        airlight: A, (3,) linear light.
    """
    transmission = np.exp(np.float32(-beta) * depth)[..., None]
    fog: Array = airlight + (radiance - airlight) * transmission
    return fog
