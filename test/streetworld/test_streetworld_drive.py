"""The drive: continuous weather, exact stamps, and a bag that reads back."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Writer

from semla_ros.errors import ConfigError, RecordingError
from semla_ros.images.depth import depth_values, metres
from semla_ros.recordings import open_recording
from semla_ros.recordings.playback import open_playback
from semla_ros.recordings.writer import STORE
from semla_ros.streetworld.drive import DEMO_LEGS, Drive, DriveFrame, Leg, write_drive
from semla_ros.streetworld.legs import Itinerary

SIZE = (60, 96)
LEGS = (Leg("clear_day", 0.5, 0.4), Leg("fog_day", 0.5))


def test_stamps_step_by_exactly_one_over_the_rate() -> None:
    stamps = [item.frame.stamp_ns for item in Drive(LEGS, 1, SIZE).frames()]
    assert len(stamps) == 14
    assert set(np.diff(stamps)) == {100_000_000}


def test_the_demo_drive_lasts_about_a_minute_and_has_four_domains() -> None:
    drive = Drive(DEMO_LEGS, 1, SIZE)
    assert 550 <= len(drive) <= 660
    assert [leg.domain for leg in DEMO_LEGS] == ["clear_day", "fog_day", "clear_night", "snow_day"]


def test_frames_rendered_alone_equal_those_of_the_drive() -> None:
    drive = Drive(LEGS, 2, SIZE)
    frames = list(drive.frames())
    assert all(np.array_equal(Drive(LEGS, 2, SIZE).frame(i).frame.rgb, frames[i].frame.rgb) for i in (7, 3))


def test_the_domain_changes_in_the_middle_of_the_transition() -> None:
    frames = list(Drive(LEGS, 1, SIZE).frames())
    assert [item.steady for item in frames] == [True] * 5 + [False] * 4 + [True] * 5
    assert [item.domain for item in frames] == ["clear_day"] * 7 + ["fog_day"] * 7


def test_weather_changes_continuously_from_leg_to_leg() -> None:
    itinerary = Itinerary((Leg("clear_day", 1, 3), Leg("fog_day", 1)), 1)
    fog = np.array([itinerary.at(t)[1].fog for t in np.arange(0, 5, 0.1)])
    assert fog[0] < 0.002
    assert fog[-1] > 0.02
    assert np.all(np.diff(fog) >= -1e-12)
    assert np.diff(fog).max() < 1.1 * (fog[-1] - fog[0]) / 30


def test_neighbouring_frames_differ_less_than_distant_frames() -> None:
    drive = Drive((Leg("clear_day", 3.0),), 1, SIZE)
    first, next_, later = (drive.frame(i).frame.rgb.astype(int) for i in (0, 1, 20))
    assert 0 < np.abs(next_ - first).mean() < np.abs(later - first).mean()


def test_the_bag_reads_back_with_its_encodings_sizes_and_ground_truth(tmp_path: Path) -> None:
    drive = Drive(LEGS, 1, SIZE)
    write_drive(tmp_path / "bag", drive)
    with AnyReader([tmp_path / "bag"]) as reader:
        messages = {c.topic: [] for c in reader.connections}
        for connection, stamp, raw in reader.messages():
            messages[connection.topic].append((stamp, reader.deserialize(raw, connection.msgtype)))
    assert {topic: len(found) for topic, found in messages.items()} == dict.fromkeys(
        ("/camera/image_raw", "/camera/camera_info", "/camera/ground_truth", "/camera/domain"), 14
    )
    expected = drive.frame(6)
    stamp, image = messages["/camera/image_raw"][6]
    assert (image.encoding, image.height, image.width, image.step) == ("rgb8", 60, 96, 288)
    assert np.array_equal(image.data.reshape(60, 96, 3), expected.frame.rgb)
    assert stamp == expected.frame.stamp_ns == image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    ground_truth = messages["/camera/ground_truth"][6][1]
    assert (ground_truth.encoding, ground_truth.step) == ("mono8", 96)
    assert np.array_equal(ground_truth.data.reshape(60, 96), expected.labels)
    info = messages["/camera/camera_info"][6][1]
    assert np.allclose(info.k.reshape(3, 3), drive.camera.matrix)
    assert info.header.frame_id == image.header.frame_id == "camera"
    assert json.loads(messages["/camera/domain"][6][1].data) == {"domain": "clear_day", "steady": False}


def test_an_existing_bag_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="exists already"):
        write_drive(tmp_path, Drive(LEGS, 1, SIZE))


@pytest.mark.parametrize("legs", [(), (Leg("clear_day", 0.0),), (Leg("clear_day", 1.0, -1.0),), (Leg("hail", 1.0),)])
def test_legs_without_length_or_with_an_unknown_domain_are_refused(legs: tuple[Leg, ...]) -> None:
    with pytest.raises(ConfigError):
        Drive(legs)


def test_a_drive_that_ends_before_its_first_frame_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"drive without length .*got 0\.01 s at 10 Hz"):
        Drive((Leg("fog_day", 0.01),))


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        Drive(LEGS, rate_hz=0.0)


def test_the_bag_has_a_version_that_humble_reads(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag", Drive((Leg("dusk", 0.1),), 1, SIZE))
    metadata = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())
    assert metadata["rosbag2_bagfile_information"]["version"] <= 8


def test_a_full_disk_is_reported_with_the_name_of_the_bag_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(RecordingError, match=r"bag cannot be written \(.*drive\).*No space left"):
        write_drive(tmp_path / "drive", Drive([Leg("clear_day", 0.3)], seed=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cause", [KeyboardInterrupt, RuntimeError])
def test_a_drive_that_is_interrupted_leaves_no_bag(
    cause: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = Drive(LEGS, 1, SIZE)
    render = drive.frame

    def interrupted(number: int) -> DriveFrame:
        if number == 3:
            raise cause
        return render(number)

    monkeypatch.setattr(drive, "frame", interrupted)
    with pytest.raises(cause):
        write_drive(tmp_path / "bag", drive)
    assert not (tmp_path / "bag").exists()


def test_a_drive_with_depth_is_recorded_in_metres_and_its_colour_camera_is_still_the_only_one(tmp_path: Path) -> None:
    drive = Drive([Leg("clear_day", 0.2)], 1, SIZE)
    write_drive(tmp_path / "bag", drive, with_depth=True)
    assert open_recording(tmp_path / "bag").topic == "/camera/image_raw"
    played = list(open_playback(tmp_path / "bag", ["/camera/depth/image_raw"]).messages())
    assert len(played) == len(drive) == 2
    message = STORE.deserialize_cdr(played[1].data, played[1].kind)
    depth = metres(depth_values(message))  # type: ignore[arg-type]
    true = drive.frame(1).depth
    np.testing.assert_array_equal(depth[true <= 40.0], true[true <= 40.0])
    assert np.isnan(depth[true > 40.0]).all()
    assert 0.2 < np.isfinite(depth).mean() < 1.0
