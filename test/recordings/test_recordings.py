from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from paths import DATA
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from videos import half_video

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.frame import Frame
from semla_ros.recordings import IncompleteError, open_recording, video, with_ground_truth

ROS1, ROS2 = get_typestore(Stores.ROS1_NOETIC), get_typestore(Stores.ROS2_JAZZY)
SECOND = 1_000_000_000
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
RGB = np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def header(stamp_ns: int, store: Any = ROS2, frame_id: str = "front") -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, SECOND))
    fields = {"seq": 0} if store is ROS1 else {}
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id, **fields)


def image(stamp_ns: int, pixels: np.ndarray = RGB, encoding: str = "rgb8", store: Any = ROS2, **changes: Any) -> Any:
    fields = {"height": pixels.shape[0], "width": pixels.shape[1], "encoding": encoding, "is_bigendian": 0}
    fields |= {"step": pixels[0].size, "data": np.ascontiguousarray(pixels).reshape(-1)}
    return store.types[IMAGE](**(fields | {"header": header(stamp_ns, store)} | changes))


def jpeg(stamp_ns: int, form: str = "jpeg") -> Any:
    data = cv2.imencode(".jpg", RGB)[1].reshape(-1)
    return ROS2.types[COMPRESSED](header=header(stamp_ns), format=form, data=data)


def write_bag(
    path: Path,
    messages: Iterable[tuple[str, int, Any]],
    plugin: StoragePlugin = StoragePlugin.MCAP,
    compress: bool = False,
) -> Path:
    """Writes (topic, time of recording, message or raw bytes of an Image) triples."""
    connections: dict[str, Any] = {}
    writer = Writer(path, version=8, storage_plugin=plugin)
    writer.set_compression(CompressionMode.STORAGE if compress else CompressionMode.NONE, CompressionFormat.ZSTD)
    with writer:
        for topic, recorded_ns, message in messages:
            kind = IMAGE if isinstance(message, bytes) else message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS2)
            data = message if isinstance(message, bytes) else ROS2.serialize_cdr(message, kind)
            writer.write(connections[topic], recorded_ns, data)
    return path


def write_images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((4, 6, 3), number, np.uint8))
    return folder


def reds(frames: Iterable[Frame]) -> list[int]:
    return [int(frame.rgb[0, 0, 0]) for frame in frames]


@pytest.mark.parametrize(
    ("name", "kind", "topic", "size", "stamps", "frame_id"),
    [
        (
            "ubiquity_fiducial_board.bag",
            "ros1 bag",
            "raspicam_node/camera/image/compressed",
            (720, 1280),
            [1480227350076296237],
            "raspicam",
        ),
        ("amber_mcap", "ros2 bag", "/camera/image_raw", (240, 320), [8297777777, 8331088888], "camera"),
        ("amber_mcap/amber_mcap.mcap", "ros2 bag", "/camera/image_raw", (240, 320), [8297777777, 8331088888], "camera"),
        ("amber_db3", "ros2 bag", "/camera/image_raw", (120, 160), [8297777777, 8331088888], "camera"),
        ("amber_db3/amber_db3.db3", "ros2 bag", "/camera/image_raw", (120, 160), [8297777777, 8331088888], "camera"),
        ("udacity_highway.mp4", "video", "", (540, 960), [40_000_000 * i for i in range(46)], "camera"),
    ],
)
def test_a_real_recording_has_images_with_their_sizes_stamps_and_frame_id(
    name: str, kind: str, topic: str, size: tuple[int, int], stamps: list[int], frame_id: str
) -> None:
    recording = open_recording(DATA / name)
    frames = list(recording.frames())
    assert (recording.kind, recording.topic, recording.frame_count) == (kind, topic, len(stamps))
    assert [frame.stamp_ns for frame in frames] == stamps
    assert {frame.rgb.shape for frame in frames} == {(*size, 3)}
    assert {frame.frame_id for frame in frames} == {frame_id}
    assert all(frame.rgb.dtype == np.uint8 and frame.rgb.std() > 10 for frame in frames)


def test_the_two_crops_of_one_real_camera_show_the_same_pixels() -> None:
    large, small = (next(open_recording(DATA / name).frames()).rgb for name in ("amber_mcap", "amber_db3"))
    np.testing.assert_array_equal(large[:120, :160], small)


def test_the_sky_of_the_real_video_is_blue_and_not_red() -> None:
    rgb = next(open_recording(DATA / "udacity_highway.mp4").frames()).rgb[:200].mean(axis=(0, 1))
    assert rgb[2] > rgb[0] + 5


def test_frames_can_be_read_again_from_the_start() -> None:
    recording = open_recording(DATA / "amber_mcap")
    once, again = list(recording.frames()), list(recording.frames())
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("topic", ["raspicam_node/camera/image/compressed", "/raspicam_node/camera/image"])
def test_a_topic_is_found_with_and_without_its_leading_slash_and_transport(topic: str) -> None:
    recording = open_recording(DATA / "ubiquity_fiducial_board.bag", topic)
    assert recording.topic == "raspicam_node/camera/image/compressed"


def test_an_unknown_topic_is_refused_with_a_list_of_the_image_topics() -> None:
    with pytest.raises(
        RecordingError, match=r"no such image topic .*got /rear, expected one of /camera/image_raw \(2\)"
    ):
        open_recording(DATA / "amber_mcap", "/rear")


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_the_raw_topic_is_preferred_and_ground_truth_and_depth_are_never_chosen(
    tmp_path: Path, plugin: StoragePlugin
) -> None:
    mask = image(5, RGB[..., 0], "mono8")
    others = [("/cam/image/compressed", 5, jpeg(5)), ("/cam/image/compressedDepth", 5, jpeg(5))]
    messages = [("/camera/ground_truth", 5, mask), *others, ("/cam/image", 5, image(5))]
    assert open_recording(write_bag(tmp_path / "bag", messages, plugin)).topic == "/cam/image"


def test_the_compressed_topic_is_chosen_if_there_is_no_raw_one(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/cam/image/compressed", 5, jpeg(5))])
    frames = list(open_recording(bag).frames())
    assert frames[0].rgb.shape == RGB.shape


def test_several_cameras_are_refused_with_a_list_unless_one_is_named(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/left", 1, image(1)), ("/right", 2, image(2)), ("/right", 3, image(3))])
    with pytest.raises(RecordingError, match=r"several image topics .*/left \(1\), /right \(2\)"):
        open_recording(bag)
    assert len(list(open_recording(bag, "right").frames())) == 2


def test_outputs_of_the_node_are_no_cameras(tmp_path: Path) -> None:
    outputs = [("/front/segmentation/overlay/compressed", 5, jpeg(5)), ("/front/segmentation/mask", 5, image(5))]
    assert open_recording(write_bag(tmp_path / "bag", [*outputs, ("/usb/image", 5, image(5))])).topic == "/usb/image"
    results = write_bag(tmp_path / "results", outputs)
    with pytest.raises(
        RecordingError, match=r"no camera images in it .*/front/segmentation/mask \(1\).*that it was made from"
    ):
        open_recording(results)
    assert open_recording(results, "/front/segmentation/overlay").topic == "/front/segmentation/overlay/compressed"


def test_a_bag_without_images_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/chatter", 1, ROS2.types["std_msgs/msg/String"](data="hello"))])
    with pytest.raises(RecordingError, match=r"no images in it .*expected sensor_msgs/msg/Image"):
        open_recording(bag)


def test_stamps_are_those_of_the_headers_or_the_time_of_recording_if_these_are_zero(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/cam", 700, image(5 * SECOND + 3)), ("/cam", 900, image(0))])
    assert [frame.stamp_ns for frame in open_recording(bag).frames()] == [5 * SECOND + 3, 900]


def test_a_negative_stamp_makes_a_bad_frame(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/cam", 1, image(-3 * SECOND)), ("/cam", 2, image(2))])
    errors: list[SemlaError] = []
    assert [frame.stamp_ns for frame in open_recording(bag).frames(errors.append)] == [2]
    assert "frame 0: negative stamp: got -3 s" in str(errors[0])


def bad_and_good(folder: Path) -> Path:
    truncated = image(2, data=RGB.reshape(-1)[:-7])
    unknown = image(3, encoding="jxl")
    raw = bytes(ROS2.serialize_cdr(image(4), IMAGE))[:30]
    return write_bag(
        folder / "bag", [("/cam", i, m) for i, m in enumerate([image(1), truncated, unknown, raw, image(5)], 1)]
    )


def test_bad_frames_are_reported_with_place_and_reason_and_the_others_are_read(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    frames = list(open_recording(bad_and_good(tmp_path)).frames(errors.append))
    assert [frame.stamp_ns for frame in frames] == [1, 5]
    assert [str(error).split("[/cam], ")[1].split(":")[0] for error in errors] == ["frame 1", "frame 2", "frame 3"]
    for error, reason in zip(errors, ["got 65 bytes", "'jxl'", "undecodable message"], strict=True):
        assert str(tmp_path / "bag") in str(error)
        assert reason in str(error)


def test_a_bad_frame_raises_its_error_without_an_error_handler(tmp_path: Path) -> None:
    frames = open_recording(bad_and_good(tmp_path)).frames()
    assert next(frames).stamp_ns == 1
    with pytest.raises(RecordingError, match="frame 1: truncated image"):
        next(frames)


def test_a_changed_image_size_is_no_error(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", [("/cam", 1, image(1)), ("/cam", 2, image(2, np.zeros((8, 2, 3), np.uint8)))])
    assert [frame.rgb.shape for frame in open_recording(bag).frames()] == [(4, 6, 3), (8, 2, 3)]


@pytest.mark.parametrize(
    "name", ["amber_mcap/amber_mcap.mcap", "amber_db3/amber_db3.db3", "ubiquity_fiducial_board.bag"]
)
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.4, 0.98])
def test_the_error_for_a_truncated_bag_names_the_file(tmp_path: Path, name: str, kept: float) -> None:
    data = (DATA / name).read_bytes()
    part = tmp_path / Path(name).name
    part.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(RecordingError, match=part.name):
        list(open_recording(part).frames())


def broken_bag(folder: Path) -> Path:
    """A bag of 19 images whose last chunk is damaged."""
    noise = np.random.default_rng(5).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    path = write_bag(folder / "bag", [("/cam", i, image(i, noise)) for i in range(1, 20)], compress=True)
    data = bytearray((path / "bag.mcap").read_bytes())
    last_chunk = data.rindex(b"\x28\xb5\x2f\xfd")  # zstd's magic number
    data[last_chunk : last_chunk + 4] = bytes(4)
    (path / "bag.mcap").write_bytes(data)
    return path


def test_a_damaged_end_of_a_bag_is_reported_once_and_the_images_before_it_are_read(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    stamps = [frame.stamp_ns for frame in open_recording(broken_bag(tmp_path)).frames(errors.append)]
    assert 1 <= len(stamps) < 19
    assert stamps == list(range(1, len(stamps) + 1))
    assert len(errors) == 1
    assert f"frame {len(stamps)}: unreadable bag" in str(errors[0])


def test_a_bag_folder_without_metadata_is_read(tmp_path: Path) -> None:
    shutil.copy(DATA / "amber_mcap" / "amber_mcap.mcap", tmp_path)
    assert len(list(open_recording(tmp_path).frames())) == 2


def test_a_bag_with_metadata_but_without_its_storage_file_is_refused(tmp_path: Path) -> None:
    shutil.copy(DATA / "amber_mcap" / "metadata.yaml", tmp_path)
    with pytest.raises(RecordingError, match="files are missing"):
        open_recording(tmp_path)


def test_a_ros_1_bag_of_raw_images_gives_the_same_pixels(tmp_path: Path) -> None:
    with Writer1(tmp_path / "raw.bag") as writer:
        connection = writer.add_connection("cam", IMAGE, typestore=ROS1)
        writer.write(connection, 9, ROS1.serialize_ros1(image(7, RGB[..., ::-1], "bgr8", ROS1), IMAGE))
    (frame,) = open_recording(tmp_path / "raw.bag").frames()
    np.testing.assert_array_equal(frame.rgb, RGB)
    assert (frame.stamp_ns, frame.frame_id) == (7, "front")


def test_ground_truth_masks_are_class_ids_with_their_stamps(tmp_path: Path) -> None:
    masks = [np.full((4, 6), i, np.uint8) for i in (1, 2)]
    messages = [("/camera/ground_truth", i, image(i, mask, "mono8")) for i, mask in enumerate(masks, 1)]
    recording = open_recording(write_bag(tmp_path / "bag", [*messages, ("/camera/image_raw", 1, image(1))]))
    ground_truth = list(recording.ground_truth())
    assert [stamp for stamp, _ in ground_truth] == [1, 2]
    assert all(np.array_equal(mask, expected) for (_, mask), expected in zip(ground_truth, masks, strict=True))


def test_a_recording_without_ground_truth_yields_no_masks() -> None:
    assert list(open_recording(DATA / "amber_mcap").ground_truth()) == []
    assert list(open_recording(DATA / "udacity_highway.mp4").ground_truth()) == []


def test_a_colour_image_as_ground_truth_is_reported_and_skipped(tmp_path: Path) -> None:
    messages = [("/camera/ground_truth", 1, image(1)), ("/camera/image_raw", 1, image(1))]
    errors: list[SemlaError] = []
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    assert list(recording.ground_truth(errors.append)) == []
    assert "ground truth mask 0: not a label image: got rgb8" in str(errors[0])


@pytest.mark.parametrize("masks", [[], [1, 2, 3, 4], [2, 4], [0, 3, 9], [9], [0]])
def test_frames_are_paired_with_the_masks_of_the_same_stamps(masks: list[int]) -> None:
    frames = [Frame(RGB, stamp) for stamp in (1, 2, 4)]
    ground_truth = iter([(stamp, np.array([[stamp]], np.uint8)) for stamp in masks])
    pairs = [(frame.stamp_ns, mask) for frame, mask in with_ground_truth(iter(frames), ground_truth)]
    assert [stamp for stamp, _ in pairs] == [1, 2, 4]
    assert [int(mask[0, 0]) for _, mask in pairs if mask is not None] == [s for s in (1, 2, 4) if s in masks]
    assert [mask is not None for _, mask in pairs] == [stamp in masks for stamp in (1, 2, 4)]


def test_images_are_in_natural_order_at_10_per_second(tmp_path: Path) -> None:
    frames = list(open_recording(write_images(tmp_path, "img10.png", "img9.PNG", "img1.png")).frames())
    assert reds(frames) == [2, 1, 0]
    assert [frame.stamp_ns for frame in frames] == [0, SECOND // 10, SECOND // 5]


def test_a_frame_rate_sets_the_stamps_of_images(tmp_path: Path) -> None:
    frames = open_recording(write_images(tmp_path, "a.png", "b.jpg", "c.bmp"), fps=30.0).frames()
    assert [frame.stamp_ns for frame in frames] == [0, 33_333_333, 66_666_667]


def test_names_that_are_times_in_nanoseconds_are_the_stamps_unless_a_frame_rate_is_given(tmp_path: Path) -> None:
    folder = write_images(tmp_path, "1403636579763555584.png", "1403636579813555456.png")
    assert [frame.stamp_ns for frame in open_recording(folder).frames()] == [1403636579763555584, 1403636579813555456]
    assert [frame.stamp_ns for frame in open_recording(folder, fps=2.0).frames()] == [0, SECOND // 2]


@pytest.mark.parametrize(
    "name",
    ["0000000007.png", "0000000000000007.png", "99999999999999999999.png", "2147483648.png", "9000000001.png",
     "2147483648000000.png", "2147483648000000000.png"],
)  # fmt: skip
def test_names_that_are_counters_do_not_become_stamps(tmp_path: Path, name: str) -> None:
    assert [frame.stamp_ns for frame in open_recording(write_images(tmp_path, name)).frames()] == [0]


@pytest.mark.parametrize("fps", [0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf")])
def test_a_frame_rate_must_be_one_that_a_camera_can_have(tmp_path: Path, fps: float) -> None:
    with pytest.raises(RecordingError, match="frame rate"):
        open_recording(write_images(tmp_path, "a.png"), fps=fps)


def test_a_single_image_is_a_recording_of_one_frame(tmp_path: Path) -> None:
    recording = open_recording(write_images(tmp_path, "a.png") / "a.png")
    assert (recording.kind, recording.frame_count, reds(recording.frames())) == ("images", 1, [0])


def test_a_damaged_image_in_a_folder_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    write_images(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    errors: list[SemlaError] = []
    assert reds(open_recording(tmp_path).frames(errors.append)) == [0, 2]
    assert "frame 1: 2.png: not an image: got 40 bytes" in str(errors[0])


def test_a_bag_written_among_images_does_not_hide_them(tmp_path: Path) -> None:
    shutil.copy(DATA / "amber_mcap" / "amber_mcap.mcap", write_images(tmp_path, "a.png"))
    assert open_recording(tmp_path).kind == "images"


def test_a_folder_of_neither_bag_nor_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("plain text")
    with pytest.raises(RecordingError, match="neither a bag nor images"):
        open_recording(tmp_path)


def test_the_error_for_a_missing_path_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no such recording .*gone\.bag"):
        open_recording(tmp_path / "gone.bag")


def test_a_file_of_another_kind_is_refused_with_a_list_of_the_supported_kinds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("plain text")
    with pytest.raises(RecordingError, match=r"unreadable recording .*notes\.txt.*expected a bag .* video"):
        open_recording(tmp_path / "notes.txt")


def test_a_truncated_video_without_its_index_is_refused(tmp_path: Path) -> None:
    data = (DATA / "udacity_highway.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=r"cut\.mp4"):
        open_recording(tmp_path / "cut.mp4")


def test_damaged_frames_of_a_video_are_reported_and_the_others_are_read(tmp_path: Path) -> None:
    data = bytearray((DATA / "udacity_highway.mp4").read_bytes())
    generator = np.random.default_rng(4)
    data[200_000:300_000] = generator.bytes(100_000)
    (tmp_path / "damaged.mp4").write_bytes(data)
    errors: list[SemlaError] = []
    stamps = [frame.stamp_ns for frame in open_recording(tmp_path / "damaged.mp4").frames(errors.append)]
    assert errors
    assert stamps == sorted(stamps)
    assert 10 < len(stamps) < 46


def write_video(path: Path, rate: int = 8, start: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, width=64, height=48, pix_fmt="yuv420p")
        stream.time_base = Fraction(1, rate)
        for number in range(5):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * number, np.uint8), format="rgb24")
            image.pts = number + start
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_videos_in_other_containers_have_their_images_and_times(tmp_path: Path, name: str) -> None:
    frames = list(open_recording(write_video(tmp_path / name)).frames())
    assert [frame.stamp_ns for frame in frames] == [SECOND * number // 8 for number in range(5)]
    assert np.abs(np.array(reds(frames)) - [0, 40, 80, 120, 160]).max() < 8


def test_the_stamps_of_a_video_that_starts_late_still_count_from_its_beginning(tmp_path: Path) -> None:
    frames = open_recording(write_video(tmp_path / "late.mkv", start=16)).frames()
    assert [frame.stamp_ns for frame in frames] == [SECOND * number // 8 for number in range(5)]


def test_the_orientation_stored_by_a_phone_is_applied(tmp_path: Path) -> None:
    data = bytearray((DATA / "udacity_highway.mp4").read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # version 0 of the track header
    quarter_turn = [0, 1 << 16, 0, (1 << 32) - (1 << 16), 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in quarter_turn)
    (tmp_path / "phone.mp4").write_bytes(data)
    turned = next(open_recording(tmp_path / "phone.mp4").frames()).rgb
    straight = next(open_recording(DATA / "udacity_highway.mp4").frames()).rgb
    np.testing.assert_array_equal(turned, np.rot90(straight, -1))  # the matrix asks for a quarter turn clockwise


def test_a_sound_file_holds_no_images(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(RecordingError, match="no images in it"):
        open_recording(tmp_path / "sound.wav")


SERVICE_EVENT = "int64 a\nint64 b\n---\nint64 sum\n"  # as rosbag2 stores example_interfaces/srv/AddTwoInts_Event


@pytest.mark.parametrize("definition", ["no message definition", "unknown_msgs/Thing thing", SERVICE_EVENT])
def test_an_unrelated_topic_whose_type_cannot_be_parsed_does_not_hide_the_images(
    tmp_path: Path, definition: str
) -> None:
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection("/cam", IMAGE, typestore=ROS2)
        other = writer.add_connection("/other", "some_msgs/srv/Odd_Event", msgdef=definition, rihs01="RIHS01_0")
        writer.write(other, 1, b"")
        writer.write(camera, 2, ROS2.serialize_cdr(image(2), IMAGE))
    assert [frame.stamp_ns for frame in open_recording(tmp_path / "bag").frames()] == [2]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("amber_mcap/amber_mcap.mcap", "mcap recover"),
        ("amber_db3/amber_db3.db3", "ros2 bag reindex"),
        ("ubiquity_fiducial_board.bag", "rosbag reindex"),
    ],
)
def test_the_error_for_a_truncated_bag_names_the_tool_that_repairs_it(tmp_path: Path, name: str, advice: str) -> None:
    part = tmp_path / Path(name).name
    data = (DATA / name).read_bytes()
    part.write_bytes(data[: len(data) // 2])
    with pytest.raises(RecordingError, match=advice):
        list(open_recording(part).frames())


def test_a_bag_that_ends_early_reports_how_many_frames_are_missing(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    stamps = [frame.stamp_ns for frame in open_recording(broken_bag(tmp_path)).frames(errors.append)]
    (error,) = errors
    assert isinstance(error, IncompleteError)
    assert error.missing == 19 - len(stamps)
    assert f"{error.missing} of 19 are missing" in str(error)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_cut_in_half_reports_how_many_frames_are_missing(tmp_path: Path, suffix: str) -> None:
    errors: list[SemlaError] = []
    frames = list(open_recording(half_video(tmp_path, suffix)).frames(errors.append))
    assert 5 < len(frames) < 30
    incomplete = [error for error in errors if isinstance(error, IncompleteError)]
    assert len(incomplete) == 1
    assert incomplete[0].missing == 38 - len(frames) - (len(errors) - 1)
    assert f"{incomplete[0].missing} of 38 are missing" in str(incomplete[0])


def test_a_video_cut_in_half_without_a_count_in_its_header_reports_both_durations(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    assert 5 < len(list(open_recording(half_video(tmp_path, ".mkv")).frames(errors.append))) < 30
    assert isinstance(errors[-1], IncompleteError)
    assert "file ends early: got 1." in str(errors[-1])
    assert "expected 4.75 s" in str(errors[-1])


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv"])
def test_a_whole_video_has_no_missing_frames(tmp_path: Path, suffix: str) -> None:
    half_video(tmp_path, suffix)
    assert len(list(open_recording(tmp_path / f"whole{suffix}").frames())) == 38


def test_a_video_whose_title_is_not_in_utf_8_is_read(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        container.metadata["title"] = "Strasse"
        stream = container.add_stream("mpeg4", rate=8, width=64, height=48, pix_fmt="yuv420p")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    data = (tmp_path / "a.avi").read_bytes()
    assert b"Strasse" in data
    (tmp_path / "a.avi").write_bytes(data.replace(b"Strasse", "Straße\0".encode("latin-1")))
    assert len(list(open_recording(tmp_path / "a.avi").frames())) == 1


def test_damage_that_looks_like_a_further_stream_does_not_end_the_reading(tmp_path: Path) -> None:
    half_video(tmp_path, ".ts")
    data = bytearray((tmp_path / "whole.ts").read_bytes())
    packets = [start for start in range(0, len(data), 188) if data[start + 1 : start + 3] == b"\x41\x00"]
    data[packets[30] + 2] = 0x23  # the stream of one image: 0x123 instead of 0x100
    (tmp_path / "damaged.ts").write_bytes(data)
    frames = list(open_recording(tmp_path / "damaged.ts").frames(lambda error: None))
    assert 30 < len(frames) < 38


class FailingContainer:
    """An open video whose file cannot be read beyond its tenth packet."""

    def __init__(self, path: str, **options: Any) -> None:
        self._container = av.open(path)
        self.streams = self._container.streams

    def __enter__(self) -> FailingContainer:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def demux(self, video: int) -> Iterator[Any]:
        yield from islice(self._container.demux(video=video), 10)
        raise av.OSError(5, "Input/output error")


def test_a_video_file_that_cannot_be_read_on_reports_how_many_frames_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_video(tmp_path)
    recording = open_recording(tmp_path / "whole.mp4")
    errors: list[SemlaError] = []
    monkeypatch.setattr(
        "semla_ros.recordings.video.av", SimpleNamespace(open=FailingContainer, FFmpegError=av.FFmpegError)
    )
    assert 5 < len(list(recording.frames(errors.append))) <= 10
    (error,) = errors
    assert isinstance(error, IncompleteError)
    assert "unreadable data: got Input/output error" in str(error)


def test_an_image_of_a_video_that_cannot_be_converted_is_reported() -> None:
    def fails(format: str) -> None:
        raise av.OSError(95, "Operation not supported")

    image = SimpleNamespace(is_corrupt=False, pts=0, to_ndarray=fails)
    with pytest.raises(RecordingError, match="undecodable data: got Operation not supported"):
        video._frame(image, 0)


@pytest.mark.parametrize("name", ["a.png", "a.mp4"])
def test_a_topic_is_refused_if_the_recording_is_not_a_bag(tmp_path: Path, name: str) -> None:
    path = write_images(tmp_path, name) if name == "a.png" else write_video(tmp_path / name)
    with pytest.raises(RecordingError, match=r"only a bag has topics .*got /camera/image_raw"):
        open_recording(path, "/camera/image_raw")


@pytest.mark.parametrize("name", ["bag", "a.mp4"])
def test_a_frame_rate_is_refused_if_the_recording_has_times(tmp_path: Path, name: str) -> None:
    path = write_bag(tmp_path / name, [("/cam", 1, image(1))]) if name == "bag" else write_video(tmp_path / name)
    with pytest.raises(RecordingError, match=r"only for image files .*got 5"):
        open_recording(path, fps=5.0)


@pytest.mark.parametrize(
    ("names", "stamps"),
    [
        (
            ["1403636579.763555.png", "1403636579.8.png", "1403636580.png"],
            [1403636579_763555000, 1403636579_800000000, 1403636580_000000000],
        ),
        (["1403636579.png", "1403636581.png"], [1403636579 * SECOND, 1403636581 * SECOND]),
        (["1403636579.25.png", "1403636579.5.png"], [1403636579_250000000, 1403636579_500000000]),
        (["2147483647.png"], [2147483647 * SECOND]),
        (["1403636579763555.png", "1403636579813555.png"], [1403636579_763555000, 1403636579_813555000]),
    ],
)
def test_names_that_are_times_in_seconds_or_microseconds_are_the_stamps(
    tmp_path: Path, names: list[str], stamps: list[int]
) -> None:
    frames = list(open_recording(write_images(tmp_path, *names)).frames())
    assert [frame.stamp_ns for frame in frames] == stamps
    assert reds(frames) == list(range(len(names)))


def test_ground_truth_of_an_earlier_time_is_read_once_and_not_kept() -> None:
    kept: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Mask:
        """Stands for an array; can be counted while it is alive."""

    def masks() -> Iterator[tuple[int, Any]]:
        nonlocal most
        for stamp in range(20_000):
            mask = Mask()
            kept.add(mask)
            most = max(most, len(kept))
            yield stamp, mask

    frames = [Frame(RGB, stamp) for stamp in (19_000, 19_001, 19_002)]
    pairs = list(with_ground_truth(iter(frames), masks()))
    assert [mask is not None for _, mask in pairs] == [True] * 3
    assert most < 10


def thermal(bits: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (4, 6)).astype("<u2")
    pixels[0, 0] = 2**bits - 1
    return pixels


def test_a_thermal_recording_of_14_bits_is_not_dark_and_does_not_flicker(tmp_path: Path) -> None:
    levels = [thermal(14), np.full((4, 6), 2**13, "<u2"), np.full((4, 6), 2**10, "<u2")]
    messages = [("/thermal", i, image(i, each.view(np.uint8), "mono16", width=6)) for i, each in enumerate(levels, 1)]
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    for _ in range(2):  # each reading learns the bit depth anew
        assert reds(recording.frames()) == [255, 128, 16]


def test_16_bit_image_files_are_scaled_by_the_bits_they_use(tmp_path: Path) -> None:
    for number, pixels in enumerate([thermal(12), np.full((4, 6), 2**11, "<u2")]):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    assert reds(open_recording(tmp_path).frames()) == [255, 128]
