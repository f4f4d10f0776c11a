from __future__ import annotations

from pathlib import Path

import pytest

from semla_ros.cli.options import claimed


def test_a_result_file_is_not_created_before_the_result_is_there(tmp_path: Path) -> None:
    claimed(None, tmp_path / "deep" / "scores.json")
    assert list((tmp_path / "deep").iterdir()) == []


def test_an_existing_result_file_keeps_its_content(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    file.write_text("of the last run")
    claimed(file)
    assert file.read_text() == "of the last run"


def test_a_result_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        claimed(tmp_path)
