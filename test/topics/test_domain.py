from __future__ import annotations

import json
import math

import pytest

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.topics.domain import OK, WARN, key_values, level_and_message

MIXTURE = Mixture(("night", "dusk"), (0.72, 0.28), (9.5, 11.25), 0.1)
STATE = DomainState(MIXTURE, distance=3.25, upper_threshold=8.0, lower_threshold=6.5, support=0.1, swaps=4, skipped=2)


def test_all_fields_of_the_state_are_reported() -> None:
    values = key_values(STATE)
    assert json.loads(values.pop("active_adapters")) == [
        {"name": "night", "weight": 0.72, "distance": 9.5},
        {"name": "dusk", "weight": 0.28, "distance": 11.25},
    ]
    assert values == {
        "support": "0.1",
        "ema_distance": "3.25",
        "upper_threshold": "8",
        "lower_threshold": "6.5",
        "swaps": "4",
        "skipped_swaps": "2",
        "out_of_distribution": "false",
        "frozen": "false",
        "error": "",
    }


def test_flags_and_errors_are_reported() -> None:
    values = key_values(DomainState(out_of_distribution=True, frozen=True, error="adapter gone"))
    assert (values["out_of_distribution"], values["frozen"], values["error"]) == ("true", "true", "adapter gone")


def test_unknown_numbers_are_nan() -> None:
    values = key_values(DomainState())
    assert values["active_adapters"] == "[]"
    assert all(math.isnan(float(values[key])) for key in ("support", "ema_distance", "upper_threshold"))


@pytest.mark.parametrize(
    ("state", "level", "message"),
    [
        (STATE, OK, "night 0.72, dusk 0.28"),
        (DomainState(), OK, "base model"),
        (DomainState(MIXTURE, frozen=True), OK, "night 0.72, dusk 0.28, frozen"),
        (DomainState(MIXTURE, out_of_distribution=True), WARN, "out of distribution: night 0.72, dusk 0.28"),
        (DomainState(MIXTURE, error="NaN"), WARN, "cannot adapt (NaN); in use: night 0.72, dusk 0.28"),
    ],
)
def test_the_level_is_warn_if_the_domain_is_out_of_distribution_or_the_adaptation_fails(
    state: DomainState, level: int, message: str
) -> None:
    assert level_and_message(state) == (level, message)
