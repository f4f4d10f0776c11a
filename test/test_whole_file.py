from __future__ import annotations

from pathlib import Path

import pytest

from semla_ros.whole_file import whole_file


def test_the_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    with whole_file(file) as partial:
        partial.write_text("new")
        assert not file.exists()
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_previous_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError), whole_file(file) as partial:
        partial.write_text("half\udcff", encoding="utf-8")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_folder_is_reported_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "missing/log.csv") as partial:
        partial.write_text("new")
