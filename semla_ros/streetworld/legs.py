"""The legs of a drive: domains, their durations, and the weather over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from semla_ros.errors import ConfigError
from semla_ros.streetworld.domains import Domain, domain_named
from semla_ros.streetworld.weather import Weather


@dataclass(frozen=True, slots=True)
class Leg:
    """One domain of a drive.

    Attributes:
        domain: Name of the domain.
        steady_s: Duration of constant weather, seconds.
        transition_s: Duration of the transition to the next leg's weather, seconds.
    """

    domain: str
    steady_s: float
    transition_s: float = 0.0


DEMO_LEGS = (Leg("clear_day", 12, 3), Leg("fog_day", 12, 3), Leg("clear_night", 12, 3), Leg("snow_day", 15))


class Itinerary:
    """The weather of a drive as a function of time.

    Args:
        legs: Legs in driving order. The transition of the last leg is not used.
        seed: Seed of the weather of each leg within its domain.

    Raises:
        ConfigError: There are no legs, a domain is unknown, or a duration is zero or negative.
    """

    def __init__(self, legs: Sequence[Leg], seed: int) -> None:
        if not legs or any(leg.steady_s <= 0 or leg.transition_s < 0 for leg in legs):
            raise ConfigError(
                "drive without length", where="legs", got=tuple(legs), expected="one or more legs, each longer than 0 s"
            )
        self.legs = tuple(legs)
        self._domains = [domain_named(leg.domain) for leg in legs]
        self._weather = [domain.sample(Random(f"drive/{seed}/{i}")) for i, domain in enumerate(self._domains)]
        lengths = [leg.steady_s + leg.transition_s for leg in legs[:-1]] + [legs[-1].steady_s]
        self._starts = [0.0, *accumulate(lengths)]

    @property
    def duration_s(self) -> float:
        """Duration of the whole drive, seconds."""
        return self._starts[-1]

    def at(self, time_s: float) -> tuple[Domain, Weather, bool]:
        """State of the drive ``time_s`` seconds after its start.

        Returns:
            The domain (during a transition, the one with the larger share), the weather, and whether it is steady.
        """
        leg = max(i for i, start in enumerate(self._starts[:-1]) if round(time_s - start, 6) >= 0)
        # Rounded, because 3 * 0.1 s is not exactly 0.3 s in floating point.
        since_steady = round(time_s - self._starts[leg] - self.legs[leg].steady_s, 6)
        if since_steady < 0 or leg + 1 == len(self.legs):
            return self._domains[leg], self._weather[leg], True
        t = since_steady / self.legs[leg].transition_s
        nearer = self._domains[leg + (t >= 0.5)]
        return nearer, Weather.blend(self._weather[leg], self._weather[leg + 1], t), False
