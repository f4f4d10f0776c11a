from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from semla_ros.cli import main, parser


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["view", *argv]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.fixture(autouse=True)
def _restored_signals() -> object:
    """The command installs handlers, which must not stay in the test run."""
    import signal

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def test_it_is_on_loopback_without_a_token_by_default() -> None:
    args: argparse.Namespace = parser().parse_args(["view"])
    assert (args.host, args.token, args.recording) == ("127.0.0.1", None, None)


def test_a_missing_recording_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no such recording" in refused(capsys, str(tmp_path / "none.mcap"))


def test_a_damaged_recording_is_refused_with_the_remedy(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n" + bytes(100))
    assert "mcap recover" in refused(capsys, str(tmp_path / "a.mcap"))


def test_a_short_token_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a token" in refused(capsys, "--token", "secret")


def test_a_name_that_no_node_can_have_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy")
    assert "not a name in ROS 2 (--node): got '/bad name'" in refused(capsys, "--node", "bad name")


def test_an_address_that_is_not_of_this_machine_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    command = [sys.executable, "-m", "semla_ros.cli", "view", str(tmp_path), "--host", "192.0.2.1", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "cannot listen (192.0.2.1:0)" in done.stderr
    assert "an address of this machine" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_setting_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    assert "fusion.k" in refused(capsys, str(tmp_path), "--set", "fusion.kk=3")


@pytest.mark.parametrize("option", [["--topic", "image"], ["--images", "drive"], ["--fps", "3"]])
def test_options_of_a_recording_are_refused_for_the_running_node(
    capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert f"{option[0]} is for a recording" in refused(capsys, *option)


def test_a_node_is_refused_for_a_recording(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    assert "--node is for the running node" in refused(capsys, str(tmp_path), "--node", "/semla")


def test_a_port_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["view", "--port", "70000"])
    assert "65535" in capsys.readouterr().err
