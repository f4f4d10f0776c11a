"""Whole batch runs, on Ray."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from listening import is_loopback, listening_addresses
from tiny import image

from semla_ros.cli import main
from semla_ros.images.files import write_image

DOMAINS = ("red", "green", "blue")
LIMIT_S = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra 'batch' is not installed"),
]


@pytest.fixture(scope="module", autouse=True)
def _ray_started_once() -> Iterator[None]:
    """All runs of this module use one Ray, as starting it takes seconds."""
    from semla_ros.batch.workers import RayWorkers

    with RayWorkers(2, device="cpu") as workers:
        workers.start()
        yield


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of three domains, four of each."""
    (tmp_path / "in").mkdir()
    for number in range(12):
        write_image(tmp_path / f"in/{number:02d}.png", image(DOMAINS[number // 4], number))
    return tmp_path / "in"


@pytest.fixture
def batch(images: Path, bundle: Path, tmp_path: Path) -> Callable[..., int]:
    """Runs the command; returns its exit code."""
    options = "--bundle", str(bundle), "--workers", "1", "--set", "model.device=cpu"
    return lambda *more: main(["batch", str(images), "-o", str(tmp_path / "out"), *options, *more])


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def masks(out: Path) -> dict[str, int]:
    """Name to time of change of each mask."""
    return {file.name: file.stat().st_mtime_ns for file in (out / "masks/in").glob("*.png")}


def rows(out: Path) -> list[tuple[Any, ...]]:
    """Identity of the stored embeddings: an embedding that is stored twice gets another row."""
    with sqlite3.connect(out / "run.sqlite") as db:
        return db.execute("SELECT rowid, source, number FROM frames ORDER BY number").fetchall()


def test_every_image_gets_a_mask_a_confidence_and_a_line_in_the_manifest(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    out = tmp_path / "out"
    lines = manifest(out)
    assert [(line["frame"], line["name"]) for line in lines] == [(n, f"{n:02d}") for n in range(12)]
    for line in lines:
        for kind in ("mask", "confidence"):
            assert cv2.imread(str(out / line[kind]), cv2.IMREAD_UNCHANGED).shape == (24, 40)
        assert abs(sum(line["mixture"].values()) - 1) < 0.001
        assert line["support"] > 0
    clusters = [line["cluster"] for line in lines]
    assert 3 <= len(set(clusters)) < 12
    assert len(set(clusters[:4]) & set(clusters[4:8])) == 0
    assert [each["name"] for each in json.loads((out / "classes.json").read_text())] == ["road", "sky", "car"]
    told = capsys.readouterr().out
    assert "12 images segmented, 12 of them now" in told
    assert f"{len(set(clusters))} clusters, {len(set(clusters))} fusions by 1 workers" in told


def test_a_finished_run_is_not_done_again(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before, stored = masks(tmp_path / "out"), rows(tmp_path / "out")
    assert batch() == 0
    assert masks(tmp_path / "out") == before
    assert rows(tmp_path / "out") == stored
    assert "12 images segmented, 0 of them now" in capsys.readouterr().out


def test_a_damaged_image_is_named_skipped_and_counted_and_done_after_its_repair(
    batch: Callable[..., int], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "05.png").write_bytes(b"damaged")
    assert batch() == 1
    shown = capsys.readouterr()
    assert "05.png" in shown.err
    assert "images were skipped" in shown.err
    assert "got 1 of 12" in shown.err
    assert "11 images segmented" in shown.out
    assert [line["frame"] for line in manifest(tmp_path / "out") if "error" in line] == [5]
    before = masks(tmp_path / "out")
    write_image(images / "05.png", image("green"))
    assert batch() == 0
    after = masks(tmp_path / "out")
    assert after.keys() - before.keys() == {"05.png"}
    assert all(after[name] == before[name] for name in before)
    assert len(manifest(tmp_path / "out")) == 12


def test_another_run_does_not_get_the_folder(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before = masks(tmp_path / "out")
    assert batch("--set", "fusion.k=1") == 1
    assert "fusion.k: 1, expected 0" in capsys.readouterr().err
    assert masks(tmp_path / "out") == before


def test_images_that_are_all_damaged_are_an_error(
    batch: Callable[..., int], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in images.iterdir():
        file.write_bytes(b"damaged")
    assert batch() == 1
    assert "no image could be read" in capsys.readouterr().err


def test_an_output_that_cannot_be_created_is_refused(
    images: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["batch", str(images), "-o", str(tmp_path / "file/out"), "--bundle", str(bundle)]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_and_the_next_one_continues(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Path.write_bytes
    done: list[Path] = []

    def full(file: Path, data: bytes) -> int:
        if "masks" in file.parts and len(done) == 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        done.extend([file] if "masks" in file.parts else [])
        return written(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        assert batch() == 1
    assert "No space left on device" in capsys.readouterr().err
    before = masks(tmp_path / "out")
    assert len(before) == 3
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert batch() == 0
    after = masks(tmp_path / "out")
    assert len(after) == 12
    assert all(after[name] == before[name] for name in before)


@pytest.mark.parametrize("phase", ["embed", "segment"])
def test_a_killed_run_is_continued_with_nothing_done_twice_or_lost(
    phase: str, batch: Callable[..., int], images: Path, bundle: Path, tmp_path: Path
) -> None:
    for number in range(12, 120):
        write_image(images / f"{number:02d}.png", image(DOMAINS[number % 3], number))
    out = tmp_path / "out"
    options = "--bundle", str(bundle), "--workers", "1", "--set", "model.device=cpu"
    command = [sys.executable, "-m", "semla_ros.cli", "batch", str(images), "-o", str(out), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def has_begun() -> bool:
        if phase == "segment":
            return out.is_dir() and len(masks(out)) >= 3
        return (out / "run.sqlite-wal").is_file() and (out / "run.sqlite-wal").stat().st_size > 60_000

    try:
        wait_until(has_begun, f"the first results of pass '{phase}'", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(LIMIT_S)
    before, stored = masks(out), rows(out)
    assert 0 < len(stored) <= 120
    assert len(before) < 120
    assert batch() == 0
    after = masks(out)
    assert len(after) == len(manifest(out)) == 120
    assert all(after[name] == before[name] for name in before)
    assert {row[1:] for row in rows(out)} == {(0, number) for number in range(120)}
    assert set(stored) <= set(rows(out))


def wait_until(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < end, f"{what} did not come within {LIMIT_S} s"
        time.sleep(0.02)


def test_nothing_listens_beyond_loopback_while_a_run_goes_on() -> None:
    addresses = listening_addresses(os.getpid())
    assert addresses, "no listening socket of Ray was found"
    assert {address for address in addresses if not is_loopback(address)} == set()


def test_a_missing_ray_is_answered_with_the_extra_that_brings_it(
    batch: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "ray" or name.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert batch() == 1
    assert "pip install 'semla_ros[batch]'" in capsys.readouterr().err


def test_a_cluster_that_does_not_answer_is_an_error() -> None:
    command = [sys.executable, "-c", CONNECT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert "Ray cannot be started (127.0.0.1:1)" in done.stdout, done.stderr


CONNECT = """
from semla_ros.batch.workers import RayWorkers
from semla_ros.errors import BatchError
try:
    RayWorkers(1, address="127.0.0.1:1").start()
except BatchError as error:
    print(error)
"""


def test_masks_are_those_of_the_mixture_in_the_manifest(
    batch: Callable[..., int], bundle: Path, tmp_path: Path
) -> None:
    from semla_ros.adaptation.retrieval import Mixture
    from semla_ros.config import Config, changed
    from semla_ros.pipeline.build import build_pipeline

    assert batch() == 0
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"}))
    for line in manifest(tmp_path / "out")[::5]:
        weights = line["mixture"]
        pipeline.fuse(Mixture(tuple(weights), tuple(weights.values()), (0.0,) * len(weights)))
        labels, _ = pipeline.segment(image(DOMAINS[line["frame"] // 4], line["frame"]))
        mask = cv2.imread(str(tmp_path / "out" / line["mask"]), cv2.IMREAD_UNCHANGED)
        assert np.mean(mask == labels) > 0.99
