from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import drive, frame, image

from semla_ros.cli import main
from semla_ros.config import changed
from semla_ros.gaps.training_set import write_training_set
from semla_ros.images.classes import ClassInfo
from semla_ros.images.files import write_image
from semla_ros.library.captions import CAPTIONS, CaptionTable, vocabulary
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline


@pytest.fixture
def record(pipeline: SemlaPipeline, tmp_path: Path) -> Path:
    """The record of a drive through red, blue and green, without the adapters of the last two."""
    settings = {
        "gaps.folder": str(tmp_path / "record"),
        "library.exclude": ["blue", "green"],
        "navigator.period_s": 0.2,
    }
    made = build_pipeline(changed(pipeline.config, settings))
    assert made.gaps is not None
    for each in drive(("red", 4), ("blue", 4), ("green", 2), start=1_700_000_000):
        made.process(each)
        made.gaps.flush()
    made.close()
    return tmp_path / "record"


@pytest.fixture
def poor_bundle(bundle: Path) -> Path:
    """The bundle without the adapters that the record was made without."""
    for name in ("blue", "green"):
        shutil.rmtree(bundle / "adapters" / name)
    return bundle


class Page(HTMLParser):
    """Texts and images of a page; fails where tags are not closed."""

    VOID = ("meta", "img")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.text, self.images, self._open = "", [], []
        self.feed(file.read_text())
        assert self._open == []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.images += [value for name, value in attrs if tag == "img" and name == "src"]
        self._open += [tag] if tag not in self.VOID else []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "


def test_the_report_says_when_what_how_much_and_what_is_near(
    record: Path, poor_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["library", "gaps", str(record), "-o", str(out), "--bundle", str(poor_bundle)]) == 0
    state = json.loads((record / "gaps.json").read_text())
    largest = max(state["gaps"], key=lambda gap: gap["count"])
    shown = capsys.readouterr().out
    assert f"of {state['seen']} embedded images" in shown
    assert f"gap_1: {largest['count']} images, {len(largest['examples'])} to label; nearest adapters: red" in shown
    page = Page(out / "report.html")
    assert "2023-11-14 22:13:20" in page.text  # 1,700,000,000 s after 1970
    assert f"{largest['count']} images" in page.text
    assert "Nearest adapters: red at" in page.text
    assert len(page.images) >= 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.images)


def test_the_report_is_written_although_the_node_replaces_images_meanwhile(
    record: Path, poor_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(folder: Path, images: Sequence[Path], classes: Sequence[ClassInfo]) -> list[Path]:
        copies = write_training_set(folder, images, classes)
        for each in images:
            each.unlink()
        return copies

    monkeypatch.setattr("semla_ros.gaps.training_set.write_training_set", written)
    out = tmp_path / "out"
    assert main(["library", "gaps", str(record), "-o", str(out), "--bundle", str(poor_bundle)]) == 0
    images = Page(out / "report.html").images
    assert images
    assert all(source.startswith("data:image/jpeg;base64,") for source in images)


def test_each_gap_becomes_a_training_set_that_waits_for_its_labels(
    record: Path, poor_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["library", "gaps", str(record), "-o", str(out), "--bundle", str(poor_bundle)]) == 0
    blue = out / "gap_1"
    files = sorted((blue / "images").iterdir())
    assert len(files) >= 10
    assert all(cv2.imread(str(file)).mean((0, 1)).argmax() == 0 for file in files)  # BGR
    assert list((blue / "labels").iterdir()) == []
    assert (blue / "classes.txt").read_text() == "road\nsky\ncar\n"


def test_a_gap_that_an_adapter_fits_by_now_is_marked(record: Path, bundle: Path, tmp_path: Path) -> None:
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    assert "fits the middle of this gap by now" in Page(tmp_path / "out/report.html").text


def test_a_record_without_gaps_gives_a_report_that_says_so(
    pipeline: SemlaPipeline, bundle: Path, tmp_path: Path
) -> None:
    made = build_pipeline(changed(pipeline.config, {"gaps.folder": str(tmp_path / "record")}))
    for second in range(3):
        made.process(frame("red", second, seed=second))  # images that the adapter was made with
    made.close()
    places = str(tmp_path / "record"), "-o", str(tmp_path / "out")
    assert main(["library", "gaps", *places, "--bundle", str(bundle)]) == 0
    assert "There is nothing to do" in Page(tmp_path / "out/report.html").text


def test_semla_replay_records_gaps(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        write_image(tmp_path / f"in/{number:02d}.png", image("blue", number))
    settings = "--set", f"gaps.folder={tmp_path / 'record'}", "--set", 'library.exclude=["blue"]'
    given = "--bundle", str(bundle), *settings
    assert main(["replay", str(tmp_path / "in"), "-o", str(tmp_path / "out.mcap"), *given]) == 0
    assert "4 of 4 embedded images fit no adapter" in capsys.readouterr().out
    assert json.loads((tmp_path / "record/gaps.json").read_text())["seen"] == 4


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no record of gaps"), (b"{", "unreadable record of gaps")], ids=["missing", "damaged"]
)
def test_what_is_no_record_is_refused(
    content: bytes | None, said: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record").mkdir()
    if content is not None:
        (tmp_path / "record/gaps.json").write_bytes(content)
    places = str(tmp_path / "record"), "-o", str(tmp_path / "out")
    assert main(["library", "gaps", *places, "--bundle", str(bundle)]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_output_that_may_hold_labels_is_not_touched(
    record: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out/gap_1/labels").mkdir(parents=True)
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 1
    assert "output exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["gap_1", "labels"]


def test_a_record_of_another_navigator_is_refused(
    record: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = json.loads((record / "gaps.json").read_text())
    for gap in state["gaps"]:
        gap["centroid"] += [0.0]
    (record / "gaps.json").write_text(json.dumps(state))
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 1
    assert "embedding of the wrong shape" in capsys.readouterr().err


def test_a_full_disk_is_reported(
    record: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr("shutil.copyfile", full)
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_a_bundle_with_captions_gives_each_gap_its_words(record: Path, bundle: Path, tmp_path: Path) -> None:
    captions = vocabulary()[:8]
    CaptionTable(captions, np.eye(8)).save(bundle / CAPTIONS)
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    largest = max(json.loads((record / "gaps.json").read_text())["gaps"], key=lambda gap: gap["count"])
    assert f"Gap 1: {captions[int(np.argmax(largest['centroid']))].text}" in Page(tmp_path / "out/report.html").text


def test_examples_without_a_readable_file_are_counted(
    record: Path, poor_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = sorted((record / "images").iterdir())
    first.unlink()
    second.write_bytes(b"")
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(poor_bundle)]) == 0
    assert "2 examples left out: the file is missing or damaged" in capsys.readouterr().out


def test_a_stamp_that_is_no_date_is_shown_in_seconds(
    record: Path, poor_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = json.loads((record / "gaps.json").read_text())
    state["gaps"][0]["last_ns"] = 10**30
    (record / "gaps.json").write_text(json.dumps(state))
    assert main(["library", "gaps", str(record), "-o", str(tmp_path / "out"), "--bundle", str(poor_bundle)]) == 0
    assert f"{10**21} s" in Page(tmp_path / "out/report.html").text
