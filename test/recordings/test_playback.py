"""What a recorded camera publishes: the messages, their order and their times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import DATA
from PIL import Image as PillowImage
from rosbags.typesys import Stores, get_typestore

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.recordings.playback import CameraMessage, open_playback
from semla_ros.recordings.writer import mcap_writer, new
from semla_ros.topics import messages

STORE = get_typestore(Stores.ROS2_HUMBLE)
SECOND = 10**9
START = 1_700_000_000 * SECOND
IMAGE, CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"


def image(stamp_ns: int, value: int = 0) -> Any:
    return messages.image(messages.header(stamp_ns, "camera", new), np.full((2, 3, 3), value, np.uint8), new)


def camera_info(stamp_ns: int) -> Any:
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return new(
        CAMERA_INFO, header=messages.header(stamp_ns, "camera", new), height=2, width=3, distortion_model="",
        d=np.zeros(0), k=np.zeros(9), r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Five seconds of a camera with intrinsics, one more camera, and what a node has published beside them."""
    with mcap_writer(tmp_path / "bag") as writer:
        names = {"/camera/image_raw": IMAGE, "/camera/camera_info": CAMERA_INFO, "/depth/image": IMAGE}
        names |= {"/semla/segmentation/mask": IMAGE}
        connections = {name: writer.add_connection(name, kind, typestore=STORE) for name, kind in names.items()}
        for second in range(6):
            stamp = START + second * SECOND
            for name, kind in names.items():
                message = image(stamp, second) if kind == IMAGE else camera_info(stamp)
                writer.write(connections[name], stamp, STORE.serialize_cdr(message, kind))
    return tmp_path / "bag"


def read(message: CameraMessage) -> Any:
    return STORE.deserialize_cdr(message.data, message.kind)


def stamp(message: CameraMessage) -> int:
    header = read(message).header
    return int(header.stamp.sec * SECOND + header.stamp.nanosec)


def test_a_bag_is_played_as_it_was_recorded_without_outputs_of_the_node(bag: Path) -> None:
    playback = open_playback(bag)
    played = list(playback.messages())
    assert dict(playback.topics) == {
        "/camera/image_raw": IMAGE, "/camera/camera_info": CAMERA_INFO, "/depth/image": IMAGE,
    }  # fmt: skip
    assert (playback.image_count, playback.is_timed) == (12, True)
    assert [message.time_ns for message in played] == sorted(START + i * SECOND for i in range(6) for _ in range(3))
    assert [stamp(message) for message in played] == [message.time_ns for message in played]


def test_camera_info_comes_before_the_image_of_its_time(bag: Path) -> None:
    topics = [message.topic for message in open_playback(bag).messages()]
    assert topics[0] == topics[3] == "/camera/camera_info"


def test_chosen_topics_are_played_alone_even_outputs_of_the_node(bag: Path) -> None:
    playback = open_playback(bag, ["semla/segmentation/mask", "/camera/camera_info"])
    assert set(playback.topics) == {"/semla/segmentation/mask", "/camera/camera_info"}
    assert playback.image_count == 6


def test_topics_of_a_bag_are_played_under_other_names_if_wanted(bag: Path) -> None:
    playback = open_playback(bag, remap={"camera/image_raw": "front/image"})
    assert set(playback.topics) == {"/front/image", "/camera/camera_info", "/depth/image"}
    played = list(playback.messages())
    assert {message.topic for message in played} == set(playback.topics)
    renamed = [stamp(message) for message in played if message.topic == "/front/image"]
    assert renamed == [START + i * SECOND for i in range(6)]


def test_renaming_that_cannot_work_is_refused_with_the_reason(bag: Path) -> None:
    with pytest.raises(RecordingError, match=r"no such topic to rename .*: got /rear, expected one of /camera/"):
        open_playback(bag, remap={"/rear": "/front"})
    with pytest.raises(RecordingError, match=r"two topics with one name .*: got /depth/image"):
        open_playback(bag, remap={"/camera/image_raw": "/depth/image"})


@pytest.mark.parametrize(
    ("start", "duration", "seconds"),
    [(0.0, None, [0, 1, 2, 3, 4, 5]), (2.5, None, [3, 4, 5]), (1.0, 2.0, [1, 2, 3]), (0.0, 0.5, [0]), (9.0, None, [])],
)
def test_a_part_of_the_recording_is_played(bag: Path, start: float, duration: float | None, seconds: list[int]) -> None:
    played = open_playback(bag, ["/camera/image_raw"]).messages(start, duration)
    assert [(message.time_ns - START) // SECOND for message in played] == seconds


def test_a_new_stamp_changes_nothing_else(bag: Path) -> None:
    for message in open_playback(bag).messages():
        restamped = message.stamped(7 * SECOND + 5)
        assert stamp(restamped) == 7 * SECOND + 5
        assert restamped.data[12:] == message.data[12:]
        assert read(restamped).header.frame_id == "camera"


def test_a_ros_1_bag_is_played_as_ros_2_messages() -> None:
    playback = open_playback(DATA / "ubiquity_fiducial_board.bag")
    played = list(playback.messages())
    assert {message.kind for message in played} == {"sensor_msgs/msg/CompressedImage", CAMERA_INFO}
    jpeg = next(read(message) for message in played if message.kind != CAMERA_INFO)
    assert bytes(jpeg.data[:2]) == b"\xff\xd8"
    assert all(topic.startswith("/") for topic in playback.topics)


def test_a_video_is_played_as_rgb_images_from_time_zero() -> None:
    playback = open_playback(DATA / "udacity_highway.mp4", image_topic="front/image")
    first, second = list(playback.messages(duration_s=0.05))[:2]
    assert (dict(playback.topics), playback.image_count, playback.is_timed) == ({"/front/image": IMAGE}, 46, False)
    assert (first.time_ns, second.time_ns) == (0, SECOND // 25)
    assert (read(first).encoding, read(first).height, read(first).width) == ("rgb8", 540, 960)


def test_image_files_named_by_times_are_played_with_these_times(tmp_path: Path) -> None:
    for name in ("1700000000.5", "1700000001.0"):
        PillowImage.new("RGB", (4, 3)).save(tmp_path / f"{name}.png")
    playback = open_playback(tmp_path)
    assert playback.is_timed
    assert [stamp(message) for message in playback.messages()] == [START + SECOND // 2, START + SECOND]


def test_an_image_that_cannot_be_read_is_reported_and_the_next_one_is_played(tmp_path: Path) -> None:
    PillowImage.new("RGB", (4, 3)).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    PillowImage.new("RGB", (4, 3)).save(tmp_path / "3.png")
    errors: list[SemlaError] = []
    assert len(list(open_playback(tmp_path).messages(on_error=errors.append))) == 2
    assert len(errors) == 1
    assert "2.png" in str(errors[0])


def test_options_that_do_not_fit_the_recording_are_refused_with_the_reason(bag: Path, tmp_path: Path) -> None:
    video = DATA / "udacity_highway.mp4"
    with pytest.raises(RecordingError, match=r"no such camera topic .*: got /rear, expected one of /camera/"):
        open_playback(bag, ["/rear"])
    with pytest.raises(RecordingError, match="only a bag has topics"):
        open_playback(video, ["/camera/image_raw"])
    with pytest.raises(RecordingError, match="only a bag has topics"):
        open_playback(video, remap={"/camera/image_raw": "/image"})
    with pytest.raises(RecordingError, match=r"a bag has topics of its own.*--image-topic /image.*--remap OLD:=NEW"):
        open_playback(bag, image_topic="/image")
    with pytest.raises(RecordingError, match="a frame rate is only for image files"):
        open_playback(bag, fps=5.0)
    with pytest.raises(RecordingError, match="no such recording"):
        open_playback(tmp_path / "missing")


@pytest.mark.parametrize("name", ["/semla/segmentation/mask", "/semla/segmentation/overlay/compressed"])
def test_a_bag_with_outputs_of_the_node_alone_is_refused(tmp_path: Path, name: str) -> None:
    with mcap_writer(tmp_path / "bag") as writer:
        connection = writer.add_connection(name, IMAGE, typestore=STORE)
        writer.write(connection, START, STORE.serialize_cdr(image(START), IMAGE))
    with pytest.raises(RecordingError, match="no camera topics in it"):
        open_playback(tmp_path / "bag")
