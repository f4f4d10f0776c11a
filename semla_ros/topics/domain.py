"""The domain state as diagnostic level, message and key-value pairs, and how a reader gets it back from the pairs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semla_ros.pipeline.domain_state import DomainState

OK, WARN = 0, 1


@dataclass(frozen=True, slots=True)
class DomainSample:
    """The domain state at one image.

    Attributes:
        stamp_ns: Stamp of the image, nanoseconds.
        adapters: Name, weight and distance of each active adapter, nearest adapter first.
        distance: Distance of the moving average of embeddings from the embedding that the mixture was made for.
        upper_threshold: Distance that starts the debounce timer.
        lower_threshold: Distance that stops it.
        support: Support score (paper, Eq. 15).
        swaps: Number of swaps since the start.
        out_of_distribution: Whether the images are unlike the training images of every adapter.
        frozen: Whether the mixture is held.
        error: Why the last adaptation failed; empty if it succeeded.
    """

    stamp_ns: int
    adapters: tuple[tuple[str, float, float], ...]
    distance: float
    upper_threshold: float
    lower_threshold: float
    support: float
    swaps: int
    out_of_distribution: bool
    frozen: bool
    error: str

    @classmethod
    def of(cls, stamp_ns: int, values: Mapping[str, str]) -> DomainSample:
        """Reads the pairs of `key_values`.

        Raises:
            KeyError: A pair is missing.
            ValueError: A value is not of its type.
        """
        adapters = json.loads(values["active_adapters"])
        return cls(
            stamp_ns,
            tuple((str(each["name"]), float(each["weight"]), float(each["distance"])) for each in adapters),
            float(values["ema_distance"]),
            float(values["upper_threshold"]),
            float(values["lower_threshold"]),
            float(values["support"]),
            int(values["swaps"]),
            values["out_of_distribution"] == "true",
            values["frozen"] == "true",
            values["error"],
        )  # fmt: skip

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the active adapters by name, nearest adapter first."""
        return {name: weight for name, weight, _ in self.adapters}

    def repeats(self, other: DomainSample) -> bool:
        """Whether the two differ in their stamps at most."""
        return replace(self, stamp_ns=other.stamp_ns) == other

    def as_json(self) -> dict[str, Any]:
        """The sample for JSON: seconds instead of nanoseconds, and null for unknown numbers."""
        return {
            "time": 1e-9 * self.stamp_ns,
            "adapters": [[name, weight, _known(distance)] for name, weight, distance in self.adapters],
            "distance": _known(self.distance),
            "upper": _known(self.upper_threshold),
            "lower": _known(self.lower_threshold),
            "support": _known(self.support),
            "swaps": self.swaps,
            "unlike": self.out_of_distribution,
            "frozen": self.frozen,
            "error": self.error,
        }


def key_values(state: DomainState) -> dict[str, str]:
    """The state as pairs of strings.

    Returns:
        A dictionary with these keys:
        ``active_adapters``: JSON list of objects with name, weight and distance, nearest adapter first.
        ``support``, ``ema_distance``, ``upper_threshold``, ``lower_threshold``: numbers; "nan" before the first
        embedding.
        ``swaps``, ``skipped_swaps``: counts.
        ``out_of_distribution``, ``frozen``: "true" or "false".
        ``error``: why the last adaptation failed; empty if it succeeded.
    """
    mixture = state.mixture
    adapters = [
        {"name": name, "weight": round(weight, 6), "distance": round(distance, 6)}
        for name, weight, distance in zip(mixture.names, mixture.weights, mixture.distances, strict=True)
    ]
    return {
        "active_adapters": json.dumps(adapters),
        "support": f"{state.support:.6g}",
        "ema_distance": f"{state.distance:.6g}",
        "upper_threshold": f"{state.upper_threshold:.6g}",
        "lower_threshold": f"{state.lower_threshold:.6g}",
        "swaps": str(state.swaps),
        "skipped_swaps": str(state.skipped),
        "out_of_distribution": json.dumps(bool(state.out_of_distribution)),
        "frozen": json.dumps(bool(state.frozen)),
        "error": state.error,
    }


def level_and_message(state: DomainState) -> tuple[int, str]:
    """The diagnostic level and the state in one line.

    Returns:
        Level and message, for example (0, "night 0.72, dusk 0.28"). The level is WARN (1) if the last adaptation
        failed or if the current domain is out of distribution for every adapter, otherwise OK (0).
    """
    mixture = state.mixture
    active = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(mixture.names, mixture.weights, strict=True))
    active = (active or "base model") + (", frozen" if state.frozen else "")
    if state.error:
        return WARN, f"cannot adapt ({state.error}); in use: {active}"
    return (WARN, f"out of distribution: {active}") if state.out_of_distribution else (OK, active)


def _known(number: float) -> float | None:
    """The number; None, which JSON can hold, instead of NaN and infinity."""
    return number if math.isfinite(number) else None
