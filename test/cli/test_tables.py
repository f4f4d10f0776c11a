"""Tables on the terminal hold text from files, which may look like markup."""

from __future__ import annotations

import pytest

from semla_ros.cli.library.table import new_table, show


def test_text_that_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = new_table("2 adapters in /data/[old]/adapters")
    table.add_column("name")
    for name in ("fog[old]", "lora[/b]"):
        table.add_row(name)
    show(table)
    shown = "".join(capsys.readouterr().out.split())  # the title is wrapped at the width of the table
    assert all(text in shown for text in ("in/data/[old]/adapters", "fog[old]", "lora[/b]"))
