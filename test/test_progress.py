from __future__ import annotations

import io

import pytest

from semla_ros import progress
from semla_ros.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_short_work_writes_nothing_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(ProgressBar(range(1000), desc="read")) == list(range(1000))
    assert capsys.readouterr().err == ""


def test_long_work_writes_plain_lines_into_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    with ProgressBar(desc="fetch", total=4, unit="B") as bar:
        for _ in range(4):
            bar.update(1)
    log = capsys.readouterr().err
    assert [line.split("%")[0] for line in log.splitlines()] == [f"fetch: {done:3d}" for done in (0, 25, 50, 75, 100)]
    assert "\r" not in log
    assert "\x1b" not in log


def test_a_terminal_shows_a_bar_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    list(ProgressBar(range(3), desc="read"))
    assert "\r" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert terminal.getvalue().count("\n") == 1
