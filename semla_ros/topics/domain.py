"""The domain state as diagnostic level, message and key-value pairs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semla_ros.pipeline.domain_state import DomainState

OK, WARN = 0, 1


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
