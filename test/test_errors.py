from __future__ import annotations

import pytest

from semla_ros import errors
from semla_ros.errors import SemlaError


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "no bundle"),
        ({"where": "model.bundle"}, "no bundle (model.bundle)"),
        ({"got": 3}, "no bundle: got 3"),
        ({"expected": "a folder"}, "no bundle: expected a folder"),
        ({"hint": "look again"}, "no bundle. look again"),
        (
            {"where": "x", "got": 3, "expected": 4, "hint": "look again"},
            "no bundle (x): got 3, expected 4. look again",
        ),
    ],
)
def test_a_message_says_what_where_got_expected_and_hint(parts: dict[str, object], message: str) -> None:
    assert str(SemlaError("no bundle", **parts)) == message


def test_a_got_of_zero_is_told_all_the_same() -> None:
    assert str(SemlaError("empty", where=0, got=0)) == "empty (0): got 0"


def test_every_error_of_ours_is_a_semla_error() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 1
    assert all(issubclass(kind, SemlaError) for kind in kinds)
