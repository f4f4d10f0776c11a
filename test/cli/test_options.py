from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from semla_ros.cli import main
from semla_ros.cli.options import LARGEST_SEED, above_zero, claimed, seed, zero_or_more


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "fast", ""])
def test_a_number_that_no_time_or_rate_can_be_is_refused(text: str) -> None:
    for parse in (above_zero, zero_or_more):
        with pytest.raises(ArgumentTypeError, match=f"got '{text}', expected a number"):
            parse(text)


def test_zero_is_a_time_but_no_rate() -> None:
    assert (zero_or_more("0"), above_zero("0.5")) == (0.0, 0.5)
    with pytest.raises(ArgumentTypeError, match="expected a number above 0"):
        above_zero("0")


def test_a_seed_that_a_random_generator_cannot_take_is_refused() -> None:
    assert seed(str(LARGEST_SEED)) == LARGEST_SEED
    with pytest.raises(ArgumentTypeError, match="expected at most 2147483647"):
        seed(str(LARGEST_SEED + 1))


@pytest.mark.parametrize("command", [["replay", "in", "-o", "out"], ["view", "in"], ["play", "in"], ["batch", "in"]])
def test_every_command_refuses_a_frame_rate_of_zero(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--fps", "0"])
    assert "argument --fps: got '0', expected a number above 0" in capsys.readouterr().err


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
