"""The domains: the range of weather, the kind of place and the caption phrases of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from semla_ros.errors import ConfigError
from semla_ros.streetworld.weather import Weather

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain: a range of weather in one kind of place.

    Attributes:
        name: Name of the domain.
        place: Kind of place, one of `layout.PLACES`.
        phrases: Caption phrases, each of which completes "an image of a street ...".
        ranges: Lowest and highest value of each attribute of `Weather` that differs from its default.
    """

    name: str
    place: str
    phrases: tuple[str, ...]
    ranges: Mapping[str, Range]

    @property
    def weather(self) -> Weather:
        """The weather at the centre of all ranges."""
        return Weather(**{name: (low + high) / 2 for name, (low, high) in self.ranges.items()})

    def sample(self, rng: Random) -> Weather:
        """Draws a weather uniformly from the ranges."""
        return Weather(**{name: rng.uniform(low, high) for name, (low, high) in self.ranges.items()})


SUNNY: dict[str, Range] = {
    "sun": (0.65, 1.0), "sun_side": (-1, 1), "sun_cot": (0.5, 1.6), "sun_front": (-0.6, 1.0), "cloud": (0.0, 0.55),
    "exposure": (0.8, 1.1), "fog": (0.0002, 0.0012), "hue": (-0.4, 0.4),
}  # fmt: skip
GREY: dict[str, Range] = {"sun": (0.0, 0.08), "cloud": (0.9, 1.0), "exposure": (0.8, 1.1), "hue": (-0.5, 0.2)}
NIGHT: dict[str, Range] = {
    "night": (0.96, 1.0), "lamps": (0.8, 1.0), "sun": (0.0, 0.0), "cloud": (0.2, 0.8), "exposure": (1.2, 2.1),
    "noise": (0.012, 0.03), "blur": (0.5, 0.9), "fog": (0.0005, 0.002),
}  # fmt: skip
RAIN: dict[str, Range] = {"rain": (0.5, 1.0), "wet": (0.7, 1.0), "fog": (0.004, 0.011), "blur": (0.5, 1.0)}
FOG: dict[str, Range] = {"fog": (0.025, 0.06), "blur": (0.5, 0.9)}
SNOW: dict[str, Range] = {"snow": (0.75, 1.0), "flakes": (0.3, 1.0), "fog": (0.003, 0.012)}


def _domain(name: str, place: str, phrases: tuple[str, ...], *ranges: Mapping[str, Range], **more: Range) -> Domain:
    """A domain whose ranges are merged from left to right: later ones replace earlier ones."""
    merged: dict[str, Range] = {}
    for part in (*ranges, more):
        merged.update(part)
    return Domain(name, place, phrases, merged)


_ALL = (
    _domain(
        "clear_day",
        "street",
        ("on a clear day", "in bright sunshine", "under a blue sky", "on a sunny day"),
        SUNNY,
    ),
    _domain(
        "clear_night",
        "street",
        ("on a clear night", "at night", "in the dark under street lamps", "on a dry dark night"),
        NIGHT,
    ),
    _domain(
        "rain_day",
        "street",
        ("in the rain", "on a rainy day", "with wet asphalt in daytime rain", "in a daytime shower"),
        GREY, RAIN, exposure=(0.6, 0.85), lamps=(0.2, 0.6),
    ),
    _domain(
        "rain_night",
        "street",
        ("on a rainy night", "at night in the rain", "with lights mirrored in a wet road at night",
         "in the rain after dark"),
        NIGHT, RAIN, fog=(0.003, 0.009),
    ),
    _domain(
        "fog_day",
        "street",
        ("in fog", "on a foggy day", "in thick daytime mist", "with grey fog hiding the distance"),
        GREY, FOG,
    ),
    _domain(
        "fog_night",
        "street",
        ("on a foggy night", "at night in fog", "with lamps glowing in dark mist", "in night fog"),
        NIGHT, FOG, fog=(0.025, 0.055), exposure=(1.3, 2.2),
    ),
    _domain(
        "snow_day",
        "street",
        ("in the snow", "on a snowy day", "covered with snow in daylight", "in falling snow by day"),
        GREY, SNOW, exposure=(0.9, 1.2),
    ),
    _domain(
        "snow_night",
        "street",
        ("on a snowy night", "at night in the snow", "covered with snow in the dark", "in falling snow at night"),
        NIGHT, SNOW, exposure=(0.7, 1.2),
    ),
    _domain(
        "dusk",
        "street",
        ("at dusk", "at sunset", "in the warm light of evening", "under an orange evening sky"),
        SUNNY, dusk=(0.85, 1.0), lamps=(0.4, 1.0), sun=(0.4, 0.9), sun_cot=(2.5, 6.0), cloud=(0.1, 0.6),
        exposure=(0.6, 1.0), noise=(0.004, 0.01),
    ),
    _domain(
        "forest",
        "forest",
        ("in a forest", "through the woods", "between tall trees", "in the shade of a wood"),
        SUNNY, canopy=(0.45, 0.85), sun=(0.4, 0.9), exposure=(0.8, 1.25),
    ),
    _domain(
        "corridor",
        "corridor",
        ("indoors", "inside a building", "under ceiling lamps indoors", "inside an office"),
        indoor=(1.0, 1.0), sun=(0.0, 0.0), exposure=(0.8, 1.5), noise=(0.004, 0.015), hue=(-1, 1),
    ),
    _domain(
        "overexposed",
        "street",
        ("badly overexposed", "washed out by too much light", "in glaring white light", "blown out by overexposure"),
        SUNNY, exposure=(3.2, 6.0), fog=(0.002, 0.006),
    ),
    _domain(
        "dirty_lens",
        "street",
        ("through a dirty lens", "seen through stains on the lens", "with mud on the camera", "behind a smeared lens"),
        SUNNY, dirt=(0.55, 1.0), blur=(0.8, 1.6), sun=(0.2, 0.9),
    ),
)  # fmt: skip

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _ALL}
"""All domains by their name."""


def domain_named(name: str) -> Domain:
    """The domain of this name.

    Raises:
        ConfigError: There is no such domain.
    """
    if name not in DOMAINS:
        raise ConfigError(
            "no such domain", where="streetworld", got=repr(name), expected="one of " + ", ".join(DOMAINS)
        )
    return DOMAINS[name]
