"""Light and weather as continuous values that can be interpolated."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Weather:
    """Light, weather, lens and sensor. Values are 0 to 1 unless another range is given.

    Attributes:
        fog: Extinction coefficient beta of the air, 1/m, 0 to 0.2.
        night: Darkness; 0 is day, 1 is night.
        dusk: Share of warm, low light.
        lamps: Brightness of lamps, windows and car lights; 0 is off.
        sun: Direct sunlight; 0 is overcast.
        sun_side: Lateral direction of the sun, -1 (left) to 1 (right).
        sun_cot: Cotangent of the sun's elevation, 0.2 to 6: length of a shadow divided by the height of the object.
        sun_front: Direction of the sun along the street, -1 (ahead) to 1 (behind the camera).
        cloud: Cloud cover.
        wet: Water on the ground.
        rain: Drops in the air.
        snow: Snow on ground, roofs and trees.
        flakes: Snow in the air.
        canopy: Share of sunlight blocked by leaves.
        indoor: 1 where ceiling lamps are the only light, otherwise 0.
        exposure: Camera gain, 0.1 to 10.
        noise: Standard deviation of the read noise, linear light; the shot noise is proportional to it.
        blur: Standard deviation of the lens blur, pixels at an image width of 384.
        dirt: Stains on the lens.
        hue: Colour cast, -1 (cold) to 1 (warm).
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
        """Interpolates every value linearly from ``a`` (t = 0) to ``b`` (t = 1)."""
        return cls(**{f.name: (1 - t) * getattr(a, f.name) + t * getattr(b, f.name) for f in fields(cls)})


def apply_fog(radiance: Array, depth: Array, beta: float, airlight: Array) -> Array:
    """Applies Koschmieder's law: I = J t + A (1 - t) with transmission t = exp(-beta depth).

    Args:
        radiance: Radiance J of the surfaces, linear light, (H, W, 3) float32.
        depth: Depth in metres, (H, W) float32.
        beta: Extinction coefficient, 1/m.
        airlight: Airlight A, linear light, (3,) float32.

    Returns:
        Radiance I at the camera, linear light, (H, W, 3) float32.
    """
    transmission = np.exp(np.float32(-beta) * depth)[..., None]
    fog: Array = airlight + (radiance - airlight) * transmission
    return fog
