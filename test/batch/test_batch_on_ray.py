"""Batch runs on Ray itself, whose start takes seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from listening import descendants, is_loopback, listening_addresses
from tiny import image

from semla_ros.cli import main
from semla_ros.images.files import write_image

DOMAINS = ("red", "green", "blue")
IMAGES, DAMAGED = 120, 30  # so many that a fast machine is not done when the run is killed
LIMIT_S = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'batch' is not installed"),
]


@pytest.fixture
def command(bundle: Path, tmp_path: Path) -> list[str]:
    """The arguments of a run with two workers over images of three domains; one image is damaged."""
    (tmp_path / "in").mkdir()
    for number in range(IMAGES):
        write_image(tmp_path / f"in/{number:03d}.png", image(DOMAINS[number % 3], number))
    (tmp_path / f"in/{DAMAGED:03d}.png").write_bytes(b"damaged")
    options = "--bundle", str(bundle), "--workers", "2", "--set", "model.device=cpu"
    return ["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *options]


def masks(out: Path) -> dict[str, int]:
    """Name to time of change of the mask of each complete image: a kill can leave a mask without its confidence."""
    complete = [file for file in (out / "masks/in").glob("*.png") if (out / "confidence/in" / file.name).is_file()]
    return {file.name: file.stat().st_mtime_ns for file in complete}


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {LIMIT_S} s"
        time.sleep(0.02)


def test_a_killed_run_listens_on_loopback_alone_leaves_no_process_and_is_continued(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    with log.open("w") as shown:
        process = subprocess.Popen([sys.executable, "-m", "semla_ros.cli", *command], stdout=shown, stderr=shown)
    addresses: set[str] = set()
    workers: set[int] = set()

    def has_masks() -> bool:
        """Whether there are masks; notes meanwhile what the run starts and where that listens."""
        addresses.update(listening_addresses(process.pid))
        workers.update(descendants(process.pid)[1:])
        return process.poll() is not None or len(masks(out)) >= 3

    try:
        wait_until(has_masks, "the first masks")
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_S)
    assert addresses, "no listening socket of Ray was found"
    assert {address for address in addresses if not is_loopback(address)} == set()
    wait_until(lambda: not any(is_running(worker) for worker in workers), "the end of all processes of the killed run")
    before = masks(out)
    assert main(command) == 1
    told = capsys.readouterr()
    assert f"got 1 of {IMAGES}" in told.err
    assert f"{IMAGES - 1} images segmented, {IMAGES - 1 - len(before)} of them now" in told.out
    after = masks(out)
    assert all(after[name] == before[name] for name in before)
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert sorted(line["frame"] for line in lines) == list(range(IMAGES))
    assert [line["frame"] for line in lines if "error" in line] == [DAMAGED]
    assert all((out / line[kind]).is_file() for line in lines if "error" not in line for kind in ("mask", "confidence"))


def is_running(process: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_missing_ray_is_answered_with_the_extra_that_brings_it(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(command) == 1
    assert "pip install '.[batch]'" in capsys.readouterr().err
