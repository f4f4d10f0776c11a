"""The settings in force: what a setting of 0 stands for."""

from __future__ import annotations

from dataclasses import dataclass

from semla_ros.adaptation.thresholds import Thresholds
from semla_ros.config import Config
from semla_ros.errors import ConfigError
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.library.bundle import Defaults


@dataclass(frozen=True)
class EffectiveSettings:
    """Settings that the bundle or the library decides about where the user has set 0.

    Attributes:
        k: Number of adapters in a mixture, 1 or larger.
        temperature: Temperature of the softmax over inverse distances, above 0.
        thresholds: Upper and lower threshold of the tracker, the lower one at most the upper one.
    """

    k: int
    temperature: float
    thresholds: Thresholds

    @classmethod
    def of(cls, config: Config, defaults: Defaults, library: AdapterLibrary) -> EffectiveSettings:
        """Takes each setting from the user, else from the bundle, else (thresholds) derives it from the library.

        Raises:
            ConfigError: The lower threshold is above the upper one.
        """
        derived_upper, derived_lower = Thresholds.of(library.centroids, [s.mean_distance for s in library.statistics])
        upper = config.tracker.upper_threshold or defaults.upper_threshold or derived_upper
        lower = config.tracker.lower_threshold or min(defaults.lower_threshold or derived_lower, upper)
        if lower > upper:
            raise ConfigError(
                "thresholds cross", where="tracker.lower_threshold", got=lower,
                expected=f"at most tracker.upper_threshold, {upper}",
            )  # fmt: skip
        k, temperature = config.fusion.k or defaults.k, config.fusion.temperature or defaults.temperature
        return cls(k, temperature, Thresholds(upper, lower))
