"""Whole batch runs with a stand-in for Ray: a single worker in this process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import image

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.batch.reading import Portion
from semla_ros.batch.rows import Row, packed, unpacked
from semla_ros.batch.stages import Stage
from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import SemlaError
from semla_ros.images.files import write_image
from semla_ros.library.manifest import relist
from semla_ros.pipeline.build import build_pipeline

pytestmark = pytest.mark.skipif(find_spec("sklearn") is None, reason="the extra 'batch' is not installed")

DOMAINS = ("red", "green", "blue")


class OneWorker:
    """Stands in for `semla_ros.batch.workers.RayWorkers`.

    Attributes:
        results: Number of results so far, of all runs.
        ends_after: Number of results after which the run is interrupted.
    """

    results, ends_after = 0, 10**9
    count, threads, device = 1, 1, "cpu"

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> OneWorker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def map(self, portions: Sequence[Portion], stage: type[Stage], *arguments: Any) -> Iterator[Row]:
        worker = stage(*arguments)
        for row in (row for portion in portions for row in portion.rows()):
            for batch in worker(packed([row])):
                if OneWorker.results == OneWorker.ends_after:
                    raise KeyboardInterrupt
                OneWorker.results += 1
                yield from unpacked(batch)


@pytest.fixture(autouse=True)
def _one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("semla_ros.batch.workers.RayWorkers", OneWorker)
    monkeypatch.setattr(OneWorker, "results", 0)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


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
    options = "--bundle", str(bundle), "--set", "model.device=cpu"
    return lambda *more: main(["batch", str(images), "-o", str(tmp_path / "out"), *options, *more])


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def masks(out: Path) -> dict[str, int]:
    """Name to time of change of each mask."""
    return {file.name: file.stat().st_mtime_ns for file in (out / "masks/in").glob("*.png")}


def stored(out: Path) -> set[tuple[Any, ...]]:
    """Identity of the stored embeddings: an embedding that is stored twice gets another row."""
    with closing(sqlite3.connect(out / "run.sqlite")) as db:
        return {*db.execute("SELECT rowid, source, number FROM frames")}


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
    assert not set(clusters[:4]) & set(clusters[4:8])
    assert [each["name"] for each in json.loads((out / "classes.json").read_text())] == ["road", "sky", "car"]
    told = capsys.readouterr().out
    assert "12 images segmented, 12 of them now" in told
    assert f"{len(set(clusters))} clusters, {len(set(clusters))} fusions, 1 worker" in told


def test_masks_are_made_with_the_mixture_in_the_manifest(
    batch: Callable[..., int], bundle: Path, tmp_path: Path
) -> None:
    assert batch() == 0
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu"}))
    for line in manifest(tmp_path / "out")[::5]:
        weights = line["mixture"]
        pipeline.fuse(Mixture(tuple(weights), tuple(weights.values()), (0.0,) * len(weights)))
        labels, _ = pipeline.segment(image(DOMAINS[line["frame"] // 4], line["frame"]))
        mask = cv2.imread(str(tmp_path / "out" / line["mask"]), cv2.IMREAD_UNCHANGED)
        assert np.mean(mask == labels) > 0.99


def test_a_finished_run_is_not_done_again(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before, rows = masks(tmp_path / "out"), stored(tmp_path / "out")
    assert batch() == 0
    assert masks(tmp_path / "out") == before
    assert stored(tmp_path / "out") == rows
    assert "12 images segmented, 0 of them now" in capsys.readouterr().out


@pytest.mark.parametrize("results", [0, 5, 13, 20])
def test_an_interrupted_run_is_continued_with_nothing_done_twice_or_lost(
    results: int, batch: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OneWorker, "ends_after", results)
    assert batch() == 130
    before, rows = masks(tmp_path / "out"), stored(tmp_path / "out")
    assert (len(rows), len(before)) == (min(results, 12), max(results - 13, 0))  # the 13th is the end of the source
    assert len(manifest(tmp_path / "out")) == len(before)
    monkeypatch.setattr(OneWorker, "ends_after", 10**9)
    assert batch() == 0
    after = masks(tmp_path / "out")
    assert len(after) == len(manifest(tmp_path / "out")) == 12
    assert all(after[name] == before[name] for name in before)
    assert rows <= stored(tmp_path / "out")
    assert OneWorker.results == 12 + 1 + 12


def test_files_that_were_complete_before_a_kill_are_not_made_again(batch: Callable[..., int], tmp_path: Path) -> None:
    assert batch() == 0
    with closing(sqlite3.connect(tmp_path / "out/run.sqlite")) as db, db:  # as if the kill came before the last notes
        db.execute("UPDATE frames SET done = 0 WHERE number > 8")
    (tmp_path / "out/confidence/in/11.png").unlink()
    before = masks(tmp_path / "out")
    assert batch() == 0
    after = masks(tmp_path / "out")
    assert [name for name in before if after[name] != before[name]] == ["11.png"]
    assert (tmp_path / "out/confidence/in/11.png").is_file()


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


def test_an_image_that_was_replaced_by_another_one_is_refused_and_its_mask_stays(
    batch: Callable[..., int], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before = masks(tmp_path / "out")
    write_image(images / "03.png", image("blue", 99)[:20])
    assert batch() == 1
    shown = capsys.readouterr().err
    assert f"an image has changed since it was embedded ({images}, image 03): got " in shown
    assert masks(tmp_path / "out") == before


def test_names_that_are_no_text_and_pipes_are_no_hindrance(
    batch: Callable[..., int], images: Path, tmp_path: Path
) -> None:
    (images / "03.png").rename(Path(os.fsdecode(bytes(images) + b"/\xff.png")))
    os.mkfifo(images / "50.png")
    os.mkfifo(images / "50.mp4")
    damaged = Path(os.fsdecode(bytes(images) + b"/\xfe.png"))
    damaged.write_bytes(b"damaged")
    assert batch() == 1
    damaged.write_bytes((images / "04.png").read_bytes())
    assert batch() == 0
    assert [line["name"] for line in manifest(tmp_path / "out")][-1] == "\\udcff"
    assert len(masks(tmp_path / "out")) == 13
    assert batch() == 0


def test_another_run_does_not_get_the_folder(
    batch: Callable[..., int], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before = masks(tmp_path / "out")
    assert batch("--set", "fusion.k=1") == 1
    assert "fusion.k: 1, expected 0" in capsys.readouterr().err
    assert batch("--distance", "0.5") == 1
    assert "--distance: 0.5, expected 0.0" in capsys.readouterr().err
    shutil.move(bundle / "adapters/red", bundle / "red")
    assert batch() == 1
    assert "adapters: blue, green" in capsys.readouterr().err
    assert masks(tmp_path / "out") == before


def test_a_refused_run_changes_nothing_in_the_folder(
    batch: Callable[..., int], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "05.png").write_bytes(b"damaged")
    assert batch() == 1
    classes = (tmp_path / "out/classes.json").read_bytes()
    assert batch("--set", "segmenter.classes=[cat, dog]") == 1
    assert "output folder of another run" in capsys.readouterr().err
    assert (tmp_path / "out/classes.json").read_bytes() == classes
    with closing(sqlite3.connect(tmp_path / "out/run.sqlite")) as db:
        assert len(db.execute("SELECT * FROM skipped").fetchall()) == 1


@pytest.mark.parametrize("file", ["segmenter.safetensors", "adapters/red/adapter_model.safetensors"])
def test_a_run_is_not_continued_with_other_weights_under_the_same_names(
    batch: Callable[..., int], bundle: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    assert batch() == 0
    tensors = load_file(bundle / file)
    save_file({name: tensor + 1e-6 for name, tensor in tensors.items()}, bundle / file)
    relist(bundle / file, SemlaError)
    assert batch() == 1
    assert "output folder of another run" in capsys.readouterr().err


def test_masks_without_the_state_of_their_run_are_not_taken_for_results(
    batch: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch() == 0
    before = masks(tmp_path / "out")
    for file in (tmp_path / "out").glob("run.sqlite*"):
        file.unlink()
    for _ in range(2):
        assert batch("--set", "fusion.k=1") == 1
        assert "files of a run whose state is lost" in capsys.readouterr().err
    assert masks(tmp_path / "out") == before


def test_images_that_are_all_damaged_are_an_error(
    batch: Callable[..., int], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in images.iterdir():
        file.write_bytes(b"damaged")
    assert batch() == 1
    assert "no image could be read: got" in capsys.readouterr().err


def test_a_bundle_without_adapters_is_refused(
    batch: Callable[..., int], bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch("--set", 'library.exclude=["red", "green", "blue"]') == 1
    assert "no adapters" in capsys.readouterr().err


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
