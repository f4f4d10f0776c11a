"""StreetWorld's drive: continuous weather, exact stamps, a bag that reads back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from semla_ros.errors import ConfigError, RecordingError
from semla_ros.streetworld.drive import DEMO_LEGS, Drive, Leg, write_drive
from semla_ros.streetworld.legs import Itinerary

SIZE = (60, 96)
LEGS = (Leg("clear_day", 0.5, 0.4), Leg("fog_day", 0.5))


def test_stamps_step_by_exactly_one_over_the_rate() -> None:
    stamps = [shot.frame.stamp_ns for shot in Drive(LEGS, 1, SIZE).frames()]
    assert len(stamps) == 14
    assert set(np.diff(stamps)) == {100_000_000}


def test_the_demo_drives_about_a_minute_through_four_domains() -> None:
    drive = Drive(DEMO_LEGS, 1, SIZE)
    assert 550 <= len(drive) <= 660
    assert [leg.domain for leg in DEMO_LEGS] == ["clear_day", "fog_day", "clear_night", "snow_day"]


def test_frames_rendered_alone_equal_those_of_the_drive() -> None:
    drive = Drive(LEGS, 2, SIZE)
    shots = list(drive.frames())
    assert all(np.array_equal(Drive(LEGS, 2, SIZE).frame(i).frame.rgb, shots[i].frame.rgb) for i in (7, 3))


def test_the_domain_changes_in_the_middle_of_the_transition() -> None:
    shots = list(Drive(LEGS, 1, SIZE).frames())
    assert [shot.steady for shot in shots] == [True] * 5 + [False] * 4 + [True] * 5
    assert [shot.domain for shot in shots] == ["clear_day"] * 7 + ["fog_day"] * 7


def test_weather_passes_continuously_from_leg_to_leg() -> None:
    itinerary = Itinerary((Leg("clear_day", 1, 3), Leg("fog_day", 1)), 1)
    fog = np.array([itinerary.at(t)[1].fog for t in np.arange(0, 5, 0.1)])
    assert fog[0] < 0.002
    assert fog[-1] > 0.02
    assert np.all(np.diff(fog) >= -1e-12)
    assert np.diff(fog).max() < 1.1 * (fog[-1] - fog[0]) / 30


def test_the_camera_moves_and_neighbouring_images_resemble_each_other() -> None:
    drive = Drive((Leg("clear_day", 3.0),), 1, SIZE)
    first, next_, later = (drive.frame(i).frame.rgb.astype(int) for i in (0, 1, 20))
    assert 0 < np.abs(next_ - first).mean() < np.abs(later - first).mean()


def test_the_bag_reads_back_with_its_encodings_sizes_and_truth(tmp_path: Path) -> None:
    drive = Drive(LEGS, 1, SIZE)
    write_drive(tmp_path / "bag", drive)
    with AnyReader([tmp_path / "bag"]) as reader:
        messages = {c.topic: [] for c in reader.connections}
        for connection, stamp, raw in reader.messages():
            messages[connection.topic].append((stamp, reader.deserialize(raw, connection.msgtype)))
    assert {topic: len(found) for topic, found in messages.items()} == dict.fromkeys(
        ("/camera/image_raw", "/camera/camera_info", "/camera/ground_truth", "/camera/domain"), 14
    )
    shot = drive.frame(6)
    stamp, image = messages["/camera/image_raw"][6]
    assert (image.encoding, image.height, image.width, image.step) == ("rgb8", 60, 96, 288)
    assert np.array_equal(image.data.reshape(60, 96, 3), shot.frame.rgb)
    assert stamp == shot.frame.stamp_ns == image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    ground_truth = messages["/camera/ground_truth"][6][1]
    assert (ground_truth.encoding, ground_truth.step) == ("mono8", 96)
    assert np.array_equal(ground_truth.data.reshape(60, 96), shot.labels)
    info = messages["/camera/camera_info"][6][1]
    assert np.allclose(info.k.reshape(3, 3), drive.camera.matrix)
    assert info.header.frame_id == image.header.frame_id == "camera"
    assert json.loads(messages["/camera/domain"][6][1].data) == {"domain": "clear_day", "steady": False}


def test_the_bag_has_a_version_that_ros_2_humble_can_read(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag", Drive((Leg("clear_day", 0.1),), size=(24, 40)))
    assert "version: 8" in (tmp_path / "bag" / "metadata.yaml").read_text()


def test_a_bag_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="exists already"):
        write_drive(tmp_path, Drive(LEGS, 1, SIZE))


@pytest.mark.parametrize("legs", [(), (Leg("clear_day", 0.0),), (Leg("clear_day", 1.0, -1.0),), (Leg("hail", 1.0),)])
def test_legs_without_length_or_of_no_domain_are_refused(legs: tuple[Leg, ...]) -> None:
    with pytest.raises(ConfigError):
        Drive(legs)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        Drive(LEGS, rate_hz=0.0)
