from __future__ import annotations

import pytest

from semla_ros.text import counted, on_one_line


def test_control_characters_are_escaped_and_all_others_kept() -> None:
    assert on_one_line("a\nb\x1b[1mß") == r"a\nb\x1b[1mß"


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_counted_in_the_singular(number: int, text: str) -> None:
    assert counted(number, "image") == text
