from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from paths import PACKAGE
from tiny import image

from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import RecordingError
from semla_ros.evaluation import out_of_distribution
from semla_ros.evaluation.out_of_distribution import FlagRate, OutOfDistribution, as_table
from semla_ros.images.frame import Frame
from semla_ros.library.bundle import ADAPTERS
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.streetworld.dataset import sample
from semla_ros.streetworld.drive import Leg

DATA = PACKAGE.parent / "test/data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of a known domain and of one without an adapter, and a file that is no recording."""
    for name, rgb in (("known", image("red", 3)), ("unknown", 255 - image("red", 3))):
        (tmp_path / "real" / name).mkdir(parents=True)
        for number in range(6):
            cv2.imwrite(str(tmp_path / "real" / name / f"{number}.png"), rgb[..., ::-1])
    (tmp_path / "real/notes.txt").write_text("no recording")
    return tmp_path / "real"


def test_each_recording_has_a_rate_and_what_cannot_be_read_is_named(
    folder: Path, pipeline: SemlaPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "unknown/3.png").write_bytes(b"cut")
    known, unknown = OutOfDistribution(pipeline, images=4).real(folder)
    assert (known.source, known.is_real, known.images, known.flagged) == ("known", True, 4, 0.0)
    assert (unknown.source, unknown.flagged) == ("unknown", 100.0)
    assert "skipped notes.txt" in caplog.text
    assert "3.png" in caplog.text


class Counted:
    """A recording of tiny images, each of its own colour."""

    def __init__(self, count: int, is_known: bool) -> None:
        self.count, self.frame_count = count, count if is_known else None
        self.images: list[Any] = []
        self.most = 0

    def numbered_frames(self, on_error: Any, wanted: Any) -> Iterator[tuple[int, Frame]]:
        for number in range(self.count):
            if wanted(number):
                rgb = np.full((1, 1, 3), number, np.uint8)
                self.images.append(weakref.ref(rgb))
                self.most = max(self.most, sum(image() is not None for image in self.images))
                yield number, Frame(rgb, number, "camera")


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("count", [3, 10, 79, 250])
def test_the_images_of_a_recording_are_spread_over_all_of_it_and_few_are_in_memory(
    count: int, is_known: bool, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Counted(count, is_known)
    monkeypatch.setattr(out_of_distribution, "open_recording", lambda source: recording)
    numbers = [int(rgb[0, 0, 0]) for rgb in OutOfDistribution(pipeline, images=10)._spread(Path("drive"))]
    assert len(numbers) == min(count, 10)
    assert np.diff([-1, *numbers]).min() >= 1
    assert np.diff([*numbers, count]).max() <= max(1, 2 * count / 10)
    assert recording.most <= 2 * 10 + 2


def test_a_folder_without_recordings_is_refused(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(RecordingError, match=rf"no recordings.*{folder.name}"):
            list(OutOfDistribution(pipeline).real(folder))
        (tmp_path / "empty").mkdir(exist_ok=True)


def test_only_the_steady_stretches_of_a_drive_count(pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_distribution, "DEMO_LEGS", (Leg("clear_day", 2, 3), Leg("fog_day", 3)))
    monkeypatch.setattr(out_of_distribution, "DOMAINS", {"corridor": None})
    monkeypatch.setattr(out_of_distribution, "LEG_S", 4.0)
    demo, corridor = OutOfDistribution(pipeline).rendered()
    assert (demo.images, demo.is_real) == (2, False)
    assert corridor.images == 4 * 4


def test_the_table_and_the_file_hold_one_row_per_source(
    folder: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(bundle / ADAPTERS / "blue")
    monkeypatch.setattr(OutOfDistribution, "rendered", lambda self: [FlagRate("fog_day", False, 5, 20.0, 40.0)])
    file = folder.parent / "rates.json"
    argv = ["--bundle", str(bundle), "--set", "model.device=cpu", "--data", str(folder), "--json", str(file)]
    assert main(["evaluate", "--protocol", "ood", *argv]) == 0
    assert "| fog_day | 5 | no | 20.0 | 40.0 |" in capsys.readouterr().out
    assert [each["source"] for each in json.loads(file.read_text())] == ["known", "unknown", "fog_day"]


@pytest.mark.parametrize("option", [("--methods", "semla"), ("--mode", "sliding"), ("--oracle", "masks")])
def test_options_of_the_other_protocols_are_refused(
    option: tuple[str, str], bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(OutOfDistribution, "rendered", lambda self: [])
    assert main(["evaluate", "--protocol", "ood", "--bundle", str(bundle), *option]) == 1
    assert f"{option[0]} has no effect on --protocol ood" in capsys.readouterr().err


def test_a_table_names_what_should_be_flagged() -> None:
    assert as_table([FlagRate("rain", True, 3, 100.0, 33.333)]).splitlines()[-1] == "| rain | 3 | yes | 100.0 | 33.3 |"


def test_the_bundled_model_flags_real_images_and_not_the_streets_that_it_was_trained_on(tmp_path: Path) -> None:
    pipeline = build_pipeline(changed(Config(), {"model.device": "cpu"}))
    for name in ("udacity_highway.mp4", "ubiquity_fiducial_board.bag", "amber_mcap"):
        (tmp_path / name).symlink_to(DATA / name)
    evaluation = OutOfDistribution(pipeline, images=6)
    assert [each.flagged for each in evaluation.real(tmp_path)] == [100.0] * 3
    rendered = [(sample("fog_night", number, 2_000_000).rgb, True) for number in range(6)]
    assert evaluation._rate("fog_night", False, rendered).flagged == 0.0
