from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paths import DATA
from tiny import image

from semla_ros.batch.sources import STATE, find_sources
from semla_ros.errors import RecordingError
from semla_ros.images.files import write_image

OUT = Path("/nowhere")


def write_images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_image(folder / name, image("red"))
    return folder


def test_recordings_of_every_kind_are_found_at_any_depth(tmp_path: Path) -> None:
    write_images(tmp_path / "in/monday/front", "1.png", "2.png")
    write_images(tmp_path / "in/monday/rear", "1.png")
    shutil.copy(DATA / "udacity_highway.mp4", tmp_path / "in/monday")
    shutil.copytree(DATA / "amber_mcap", tmp_path / "in/tuesday/amber_mcap")
    shutil.copy(DATA / "ubiquity_fiducial_board.bag", tmp_path / "in")
    (tmp_path / "in/notes.txt").write_text("nothing to segment")
    found = find_sources([tmp_path / "in"], OUT)
    assert [each.label for each in found] == [
        "front", "rear", "udacity_highway", "amber_mcap", "ubiquity_fiducial_board",
    ]  # fmt: skip
    assert [each.open().kind for each in found] == ["images", "images", "video", "ros2 bag", "ros1 bag"]


def test_the_output_folder_is_not_searched(tmp_path: Path) -> None:
    write_images(tmp_path / "day", "1.png")
    write_images(tmp_path / "out/masks/day", "1.png")
    assert [each.label for each in find_sources([tmp_path], tmp_path / "out")] == ["day"]


def test_an_output_folder_that_is_an_input_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "day", "1.png")
    with pytest.raises(RecordingError, match="output folder that is an input, too"):
        find_sources([tmp_path / "day"], tmp_path / "day/../day")


def test_output_folders_of_other_runs_and_links_that_lead_back_are_not_searched(tmp_path: Path) -> None:
    write_images(tmp_path / "day", "1.png")
    write_images(tmp_path / "earlier/masks/day", "1.png")
    (tmp_path / "earlier" / STATE).touch()
    (tmp_path / "day/again").symlink_to(tmp_path)
    (tmp_path / "day/itself").symlink_to(tmp_path / "day")
    assert [each.label for each in find_sources([tmp_path], OUT)] == ["day"]


def test_two_recordings_of_one_name_get_different_folders(tmp_path: Path) -> None:
    inputs = [write_images(tmp_path / day / "front", "1.png") for day in ("monday", "tuesday")]
    assert [each.label for each in find_sources(inputs, OUT)] == ["front", "front_2"]


def test_a_topic_is_for_bags_and_a_frame_rate_for_images(tmp_path: Path) -> None:
    inputs = [write_images(tmp_path / "day", "1.png"), DATA / "amber_mcap", DATA / "udacity_highway.mp4"]
    found = find_sources(inputs, OUT, topic="/camera", fps=5.0)
    assert [(each.topic, each.fps) for each in found] == [(None, 5.0), ("/camera", None), (None, None)]


@pytest.mark.parametrize(("path", "said"), [("missing", "no such recording"), ("empty", "no images, videos or bags")])
def test_an_input_without_a_recording_is_refused(path: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=said):
        find_sources([tmp_path / path], OUT)


def test_a_fingerprint_changes_when_an_image_is_added_and_stays_when_one_is_repaired(tmp_path: Path) -> None:
    (source,) = find_sources([write_images(tmp_path / "day", "1.png")], OUT)
    before = source.fingerprint()
    (tmp_path / "day/1.png").write_bytes(b"repaired")
    assert source.fingerprint() == before
    write_images(tmp_path / "day", "2.png")
    assert source.fingerprint() != before


def test_a_broken_link_counts_as_an_image_before_and_after_its_repair(tmp_path: Path) -> None:
    (source,) = find_sources([write_images(tmp_path / "day", "1.png", "3.png")], OUT)
    before = source.fingerprint()
    (tmp_path / "day/2.png").symlink_to(tmp_path / "later.png")
    broken = source.fingerprint()
    assert broken != before
    assert source.sizes()["2"] == 0
    write_images(tmp_path, "later.png")
    assert source.fingerprint() == broken
    assert source.sizes()["2"] > 0


def test_a_fingerprint_changes_when_a_recording_grows(tmp_path: Path) -> None:
    video = Path(shutil.copy(DATA / "udacity_highway.mp4", tmp_path))
    (source,) = find_sources([video], OUT)
    before = source.fingerprint()
    with video.open("ab") as end:
        end.write(b"more")
    assert source.fingerprint() != before
