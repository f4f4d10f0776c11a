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
        ({"hint": "try again"}, "no bundle. try again"),
        (
            {"where": "x", "got": 3, "expected": 4, "hint": "try again"},
            "no bundle (x): got 3, expected 4. try again",
        ),
    ],
)
def test_a_message_contains_the_given_parts_in_order(parts: dict[str, object], message: str) -> None:
    assert str(SemlaError("no bundle", **parts)) == message


def test_a_value_of_zero_is_part_of_the_message() -> None:
    assert str(SemlaError("empty", where=0, got=0)) == "empty (0): got 0"


def test_all_errors_of_the_package_are_semla_errors() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 1
    assert all(issubclass(kind, SemlaError) for kind in kinds)


def test_a_long_value_is_shortened() -> None:
    message = str(SemlaError("unknown encoding", where="/camera", got=repr("x" * 1_000_000)))
    assert len(message) < 400
    assert message.startswith("unknown encoding (/camera): got 'xxx")
    assert "(1000002 characters)" in message
    assert message.endswith("x'")


def test_a_hint_follows_one_full_stop() -> None:
    assert str(SemlaError("gone", expected="a folder.", hint="Make one.")) == "gone: expected a folder. Make one."


def test_a_value_from_outside_stays_on_one_line() -> None:
    assert str(SemlaError("lost", where="new\nline\x1b.png", got="a\tb")) == r"lost (new\nline\x1b.png): got a\tb"
