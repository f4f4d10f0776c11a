from __future__ import annotations

import errno
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import SECOND, drive, image

from semla_ros.adaptation.gaps import Gaps
from semla_ros.config import GapsConfig, changed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import EmbeddingResult
from semla_ros.pipeline.gap_record import GapRecord
from semla_ros.pipeline.gap_recorder import MAX_WAITING, GapRecorder
from semla_ros.pipeline.pipeline import SemlaPipeline


class Library:
    """Fits images whose embedding begins with 0."""

    domain_distance = 1.0

    def __init__(self, wait: Callable[[], object] = lambda: None) -> None:
        self._wait = wait

    def is_in_distribution(self, embedding: np.ndarray, texture: np.ndarray) -> bool:
        self._wait()
        return bool(embedding[0] == 0)


LIBRARY = Library()


@pytest.fixture
def config(tmp_path: Path) -> GapsConfig:
    return GapsConfig(folder=str(tmp_path / "gaps"), images=8)


def embedded(rgb: np.ndarray, second: int, value: float = 1.0, camera: str = "") -> EmbeddingResult:
    return EmbeddingResult(np.array([value, 0.0]), np.zeros(1), Frame(rgb, second * SECOND, camera), 0.0, 0.0)


def note(recorder: GapRecorder, second: int, value: float = 1.0, library: Library = LIBRARY) -> None:
    """Passes an image. Waits until it is recorded, as the recorder leaves out what it has no room for."""
    recorder.note(embedded(image("red", second), second, value), library)
    recorder.flush()


def record(config: GapsConfig) -> Gaps:
    gaps = GapRecord(Path(config.folder)).read()
    assert gaps is not None
    return gaps


def examples(config: GapsConfig) -> list[int]:
    """Seconds of the example images on disk."""
    return sorted(int(file.stem) // SECOND for file in Path(config.folder, "images").iterdir())


def test_images_that_no_adapter_fits_are_grouped_counted_and_kept(config: GapsConfig) -> None:
    recorder = GapRecorder(config)
    for second in range(12):
        note(recorder, second, value=[0.0, 1.0, 5.0][second % 3])
    recorder.close()
    gaps = record(config)
    assert (gaps.seen, gaps.count) == (12, 8)
    assert [gap.count for gap in gaps.gaps] == [4, 4]
    assert examples(config) == [1, 2, 4, 5, 7, 8, 10, 11]
    kept = cv2.imread(str(Path(config.folder, f"images/{4 * SECOND}.jpg")))[..., ::-1]
    assert np.abs(kept.astype(int) - image("red", 4)).mean() < 12


def test_a_record_is_continued(config: GapsConfig) -> None:
    for seconds in (range(0, 3), range(3, 6)):
        recorder = GapRecorder(config)
        for second in seconds:
            note(recorder, second)
        recorder.close()
    assert [gap.count for gap in record(config).gaps] == [6]
    assert examples(config) == [0, 1, 2, 3, 4, 5]


def test_the_record_stays_within_its_limit_on_disk(config: GapsConfig) -> None:
    recorder = GapRecorder(replace(config, disk_mib=2, images=1000))
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)  # some 80 kB as JPEG
    for second in range(60):
        recorder.note(embedded(noise, second), LIBRARY)
        recorder.flush()
    recorder.close()
    size = sum(file.stat().st_size for file in Path(config.folder).rglob("*") if file.is_file())
    assert 2**18 < size < 2 * 2**20
    assert sorted(stamp // SECOND for stamp in record(config).gaps[0].examples) == examples(config)


def test_a_slow_disk_does_not_hold_up_frames(config: GapsConfig) -> None:
    go = threading.Event()
    recorder = GapRecorder(config)
    for second in range(MAX_WAITING + 5):
        recorder.note(embedded(image("red"), second), Library(go.wait))
    missed = recorder.missed
    go.set()
    recorder.close()
    assert missed == 5
    assert record(config).count == MAX_WAITING
    assert recorder.key_values()["gap_images_missed"] == "5"


def test_a_full_disk_is_said_once_and_recording_goes_on_when_there_is_room(
    config: GapsConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = GapRecorder(config)
    note(recorder, 0)

    def full(file: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(file))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        for second in range(1, 4):
            note(recorder, second)
        assert "No space left on device" in recorder.problem
        assert recorder.key_values()["gap_problem"] == recorder.problem
    assert [entry.levelname for entry in caplog.records] == ["WARNING"]
    assert "Segmentation goes on" in caplog.text
    note(recorder, 4)
    recorder.close()
    assert recorder.problem == ""
    assert (record(config).count, examples(config)) == (5, [0, 4])
    assert record(config).gaps[0].examples == [0, 4 * SECOND]


def test_a_folder_that_vanishes_is_said_once_and_is_not_created_again(
    config: GapsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = GapRecorder(config)
    note(recorder, 0)
    shutil.rmtree(config.folder)  # as when a disk is removed
    for second in range(1, 4):
        note(recorder, second)
    recorder.close()
    assert "No such file or directory" in recorder.problem
    assert len(caplog.records) == 1
    assert not Path(config.folder).exists()


def test_a_folder_that_cannot_be_created_stops_nothing(
    tmp_path: Path, bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    recorder = GapRecorder(GapsConfig(folder=str(tmp_path / "file/gaps")))
    note(recorder, 0)
    recorder.close()
    assert "gaps cannot be recorded" in recorder.problem
    assert len(caplog.records) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"gaps": 3}', b"\xff\xfe", b"[" * 10**5])
def test_a_damaged_record_is_put_aside_with_its_images(
    content: bytes, config: GapsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(config.folder)
    (folder / "images").mkdir(parents=True)
    (folder / "images/3.jpg").write_bytes(b"image")
    (folder / "gaps.json").write_bytes(content)
    recorder = GapRecorder(config)
    note(recorder, 7)
    recorder.close()
    assert (folder / "previous_1/gaps.json").read_bytes() == content
    assert (folder / "previous_1/images/3.jpg").read_bytes() == b"image"
    assert "unreadable record of gaps" in caplog.text
    assert f"moved to {folder / 'previous_1'}" in caplog.text
    assert examples(config) == [7]
    assert json.loads((folder / "gaps.json").read_text())["seen"] == 1


def test_images_without_a_record_are_put_aside_beside_an_earlier_one(config: GapsConfig) -> None:
    folder = Path(config.folder)
    for image_file in ("images/3.jpg", "previous_1/images/2.jpg"):
        (folder / image_file).parent.mkdir(parents=True)
        (folder / image_file).write_bytes(b"image")
    recorder = GapRecorder(config)
    note(recorder, 7)
    recorder.close()
    assert (folder / "previous_1/images/2.jpg").exists()
    assert (folder / "previous_2/images/3.jpg").exists()
    assert examples(config) == [7]


def test_a_record_of_another_navigator_is_put_aside(config: GapsConfig, caplog: pytest.LogCaptureFixture) -> None:
    recorder = GapRecorder(config)
    note(recorder, 1)
    recorder.close()
    recorder = GapRecorder(config)
    recorder.note(replace(embedded(image("red"), 2), embedding=np.ones(3)), LIBRARY)
    recorder.close()
    assert recorder.problem == ""
    assert "record of another navigator" in caplog.text
    assert [gap.centroid.size for gap in record(config).gaps] == [3]
    assert examples(config) == [2]
    previous = replace(config, folder=str(Path(config.folder, "previous_1")))
    assert (record(previous).count, examples(previous)) == (1, [1])


def test_images_and_record_agree_again_after_a_power_cut(config: GapsConfig) -> None:
    recorder = GapRecorder(config)
    for second in range(4):
        note(recorder, second)
    recorder.close()
    images = Path(config.folder, "images")
    (images / f"{2 * SECOND}.jpg").unlink()
    (images / f"{9 * SECOND}.jpg").write_bytes(b"written after the last state")
    recorder = GapRecorder(config)
    note(recorder, 5, value=0.0)
    recorder.close()
    assert examples(config) == [0, 1, 3]
    assert [stamp // SECOND for stamp in record(config).gaps[0].examples] == [0, 1, 3]


def test_a_problem_ends_when_the_state_can_be_written_again(
    config: GapsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = GapRecorder(config)
    note(recorder, 0)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", lambda file, data: 1 / 0)
        recorder.flush()
        assert "cannot be recorded" in recorder.problem
    note(recorder, 1, value=0.0)  # an adapter fits this image: it is not kept
    assert recorder.problem == ""
    recorder.close()


def test_an_example_is_not_listed_if_those_that_it_replaces_cannot_be_deleted(
    config: GapsConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = GapRecorder(replace(config, images=2))
    note(recorder, 0)
    note(recorder, 1)

    def read_only(file: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(file))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", read_only)
        note(recorder, 2)
    assert "Read-only file system" in caplog.text
    recorder.close()
    assert set(record(config).gaps[0].examples) <= {second * SECOND for second in examples(config)}


def test_images_of_several_cameras_with_the_same_stamp_are_all_kept(config: GapsConfig) -> None:
    for _ in range(2):  # the second time it is a recording that is played again
        recorder = GapRecorder(config)
        for second in range(2):
            for camera, value in (("front", 1.0), ("rear", 5.0)):
                recorder.note(embedded(image("red", second), second, value, camera), LIBRARY)
        recorder.close()
    assert [gap.examples for gap in record(config).gaps] == [[0, SECOND], [1, SECOND + 1]]
    assert examples(config) == [0, 0, 1, 1]


def recording(pipeline: SemlaPipeline, folder: Path, *without: str) -> SemlaPipeline:
    """The same pipeline, with a record of gaps and without some adapters."""
    settings = {"gaps.folder": str(folder), "library.exclude": list(without)}
    return build_pipeline(changed(pipeline.config, settings))


def test_a_drive_into_a_domain_without_an_adapter_is_recorded(pipeline: SemlaPipeline, tmp_path: Path) -> None:
    made = recording(pipeline, tmp_path / "gaps", "blue")
    assert made.gaps is not None
    for frame in drive(("red", 5), ("blue", 5), ("green", 5)):
        made.process(frame)
        made.gaps.flush()
    made.close()
    gaps = GapRecord(tmp_path / "gaps").read()
    assert gaps is not None
    assert gaps.seen == 30
    assert sum(105 <= stamp / SECOND < 110 for gap in gaps.gaps for stamp in gap.examples) >= 8
    largest = max(gaps.gaps, key=lambda gap: gap.count)
    assert 105 <= largest.first_ns / SECOND < largest.last_ns / SECOND < 110


def test_without_a_folder_nothing_is_recorded(pipeline: SemlaPipeline) -> None:
    assert pipeline.gaps is None
    pipeline.close()
