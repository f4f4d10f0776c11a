from __future__ import annotations

from pathlib import Path

import pytest

from semla_ros.errors import ConfigError
from semla_ros.plain_yaml import MAX_BYTES, MAX_DEPTH, parse_yaml, read_yaml

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


def test_plain_values_are_parsed() -> None:
    assert parse_yaml("a: {b: [1, 2.5, yes, text], c: ~}") == {"a": {"b": [1, 2.5, True, "text"], "c": None}}
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "aliases are not allowed"),
        ("a: &a {b: *a}", "aliases are not allowed"),
        ("[" * 100_000, "nested deeper"),
        ("{a: " * 30_000, "nested deeper"),
        ("\n".join(" " * i + "a:" for i in range(500)), "nested deeper"),
        ("road: 1\nsky: 2\nroad: 3", "key 'road' appears twice.*line 3"),
        ("a: [b", "expected"),
        ("!!python/object/apply:os.abort []", "could not determine a constructor"),
        ("!!int ''", "IndexError"),
        ("9" * 5000, "ValueError"),
        ("2001-99-99", "ValueError"),
        (b"\xff\xfe\x00", "truncated data"),
        ("[]: 1", "unhashable"),
    ],
)
def test_text_that_is_not_plain_yaml_is_refused_with_the_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"not plain YAML.*{reason}"):
        parse_yaml(text)


def test_nesting_up_to_the_limit_is_accepted() -> None:
    depth = MAX_DEPTH - 1
    assert parse_yaml("[" * depth + "]" * depth) is not None


def test_a_long_text_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ConfigError, match=f"too long for YAML.*at most {MAX_BYTES}"):
        parse_yaml("x" * (MAX_BYTES + 1))


def test_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("a: *b")
    with pytest.raises(ConfigError, match=r"not plain YAML.*bad\.yaml"):
        read_yaml(file)
    with pytest.raises(ConfigError, match=r"unreadable file.*gone\.yaml"):
        read_yaml(tmp_path / "gone.yaml")
