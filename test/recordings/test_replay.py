from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from paths import DATA
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from videos import half_video

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.config import Config
from semla_ros.errors import EmbeddingError, ImageError, RecordingError, SemlaError
from semla_ros.images.classes import class_table
from semla_ros.images.conversion import decode_compressed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.domain_state import DomainState
from semla_ros.pipeline.result import SegmentationResult
from semla_ros.recordings import Recording, open_recording
from semla_ros.recordings.replay import ReplaySummary, Swap, replay
from semla_ros.recordings.writer import ResultBag

MASK, CONFIDENCE, STATE = "/semla/segmentation/mask", "/semla/segmentation/confidence", "/semla/domain/state"
LABELS, SUPPORT = "/semla/segmentation/labels", "/semla/domain/support"
OVERLAY = "/semla/segmentation/overlay/compressed"
FIXTURES = ["ubiquity_fiducial_board.bag", "amber_mcap", "amber_db3", "udacity_highway.mp4"]
DAY, NIGHT = Mixture(("day",), (1.0,), (2.0,), 0.5), Mixture(("night", "dusk"), (0.75, 0.25), (1.0, 3.0), 0.8)
SECOND = 1_000_000_000


class DarknessPipeline:
    """Stands in for the real one: two classes by brightness, night and day by the image's mean."""

    classes = class_table(["road", "sky"])
    config = Config()

    def __init__(self, label_type: type = np.uint8, fails_at: tuple[int, ...] = (), error: str = "") -> None:
        self.domain = DomainState(upper_threshold=8.0, lower_threshold=6.0, error=error)
        self.seen = 0
        self._label_type, self._fails_at = label_type, fails_at

    def process(self, frame: Frame) -> SegmentationResult:
        self.seen += 1
        if self.seen in self._fails_at:
            raise EmbeddingError("not finite", where="embedding")
        grey = frame.rgb.mean(axis=2)
        mixture = DAY if grey.mean() > 100 else NIGHT
        swapped = mixture != self.domain.mixture
        self.domain = replace(
            self.domain,
            mixture=mixture,
            swapped=swapped,
            swaps=self.domain.swaps + swapped,
            support=mixture.support if self.seen > 1 else float("nan"),
            out_of_distribution=grey.mean() > 250,
        )
        labels = (grey > 128).astype(self._label_type)
        confidence = (np.abs(grey - 128) / 128).astype(np.float32)
        return SegmentationResult(frame, labels, confidence, self.domain, {"segment": 0.001})


def images(folder: Path, *levels: int) -> Recording:
    """A recording of plain grey images, 6 high and 8 wide."""
    folder.mkdir()
    for index, level in enumerate(levels):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((6, 8, 3), level, np.uint8))
    return open_recording(folder)


def run(recording: Recording, out: Path, pipeline: Any = None, **options: Any) -> ReplaySummary:
    return replay(recording, pipeline or DarknessPipeline(), out, **options)


def read(bag: Path) -> dict[str, list[tuple[int, Any]]]:
    """Every topic's (time, message) pairs."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([bag]) as reader:
        for connection, time_ns, data in reader.messages():
            found.setdefault(connection.topic, []).append((time_ns, reader.deserialize(data, connection.msgtype)))
    return found


def stamp(message: Any) -> int:
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


def pixels(message: Any) -> np.ndarray:
    return message.data.view(f"<u{message.step // message.width}").reshape(message.height, message.width)


def no_leftovers(folder: Path) -> bool:
    return not any(path.name.startswith(".") for path in folder.iterdir())


@pytest.mark.parametrize("fixture", FIXTURES)
def test_every_frame_of_a_real_recording_is_written_with_its_stamp_frame_id_and_size(
    tmp_path: Path, fixture: str
) -> None:
    recording = open_recording(DATA / fixture)
    summary = run(recording, tmp_path / "out.mcap")
    topics = read(tmp_path / "out.mcap")
    frames = list(recording.frames())
    assert summary.frames == len(frames) == recording.frame_count
    for topic in (MASK, CONFIDENCE):
        messages = [message for _, message in topics[topic]]
        assert [stamp(message) for message in messages] == [frame.stamp_ns for frame in frames]
        assert [message.header.frame_id for message in messages] == [frame.frame_id for frame in frames]
        assert all((m.height, m.width) == f.rgb.shape[:2] for m, f in zip(messages, frames, strict=True))
        assert all(m.encoding == "mono8" and m.step == m.width and not m.is_bigendian for m in messages)
    assert [stamp(message) for _, message in topics[STATE]] == [frame.stamp_ns for frame in frames]


def test_the_topics_and_types_are_those_of_the_live_node(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 50, 60), tmp_path / "out.mcap", with_overlay=True)
    with AnyReader([tmp_path / "out.mcap"]) as reader:
        found = {connection.topic: connection.msgtype for connection in reader.connections}
    assert found == {
        "/semla/segmentation/mask": "sensor_msgs/msg/Image",
        "/semla/segmentation/confidence": "sensor_msgs/msg/Image",
        "/semla/segmentation/overlay/compressed": "sensor_msgs/msg/CompressedImage",
        "/semla/segmentation/labels": "std_msgs/msg/String",
        "/semla/domain/support": "std_msgs/msg/Float32",
        "/semla/domain/state": "diagnostic_msgs/msg/DiagnosticArray",
    }


def test_all_topics_are_reliable_and_labels_and_state_transient_local(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 50), tmp_path / "out.mcap")
    with AnyReader([tmp_path / "out.mcap"]) as reader:
        profiles = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    transient_local = {topic for topic, qos in profiles.items() if qos.durability is QosDurability.TRANSIENT_LOCAL}
    assert transient_local == {LABELS, STATE}
    assert {qos.reliability for qos in profiles.values()} == {QosReliability.RELIABLE}


def test_mask_confidence_and_support_have_the_values_of_the_pipeline(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 0, 192, 64), tmp_path / "out.mcap")
    topics = read(tmp_path / "out.mcap")
    assert [int(pixels(m).max()) for _, m in topics[MASK]] == [0, 1, 0]
    assert [np.unique(pixels(m)).tolist() for _, m in topics[CONFIDENCE]] == [[255], [128], [128]]
    support = topics[SUPPORT]
    assert [(t, round(m.data, 6)) for t, m in support] == [(SECOND // 10, 0.5), (SECOND // 5, 0.8)]


def test_more_than_255_classes_are_written_as_mono16(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 192), tmp_path / "out.mcap", DarknessPipeline(np.uint16))
    ((_, mask),) = read(tmp_path / "out.mcap")[MASK]
    assert (mask.encoding, mask.step, np.unique(pixels(mask)).tolist()) == ("mono16", 16, [1])


def test_the_classes_are_written_once_and_first_with_names_and_colours(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 0, 1), tmp_path / "out.mcap")
    ((_, labels),) = read(tmp_path / "out.mcap")[LABELS]
    assert json.loads(labels.data) == [
        {"id": 0, "name": "road", "color": [128, 64, 128]},
        {"id": 1, "name": "sky", "color": [70, 130, 180]},
    ]


def test_the_domain_state_is_a_diagnostic_that_warns_when_out_of_distribution(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 0, 255), tmp_path / "out.mcap")
    statuses = [message.status[0] for _, message in read(tmp_path / "out.mcap")[STATE]]
    assert [status.level for status in statuses] == [0, 1]
    assert statuses[0].name == "/semla: domain"
    values = {pair.key: pair.value for pair in statuses[0].values}
    assert [adapter["name"] for adapter in json.loads(values["active_adapters"])] == ["night", "dusk"]


def test_the_overlay_is_a_jpeg_of_image_and_class_colours_made_only_on_demand(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 200)
    run(recording, tmp_path / "plain.mcap")
    run(recording, tmp_path / "painted.mcap", with_overlay=True)
    assert OVERLAY not in read(tmp_path / "plain.mcap")
    ((_, message),) = read(tmp_path / "painted.mcap")[OVERLAY]
    expected = (np.array([70, 130, 180]) + 200) / 2
    assert np.abs(decode_compressed(message) - expected).max() <= 3


def test_an_overlay_that_cannot_be_encoded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = images(tmp_path / "in", 200)
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ImageError, match=r"cannot be encoded as JPEG: got \(6, 8, 3\)"):
        run(recording, tmp_path / "out.mcap", with_overlay=True)
    assert no_leftovers(tmp_path)


def test_the_summary_counts_frames_swaps_and_frames_out_of_distribution(tmp_path: Path) -> None:
    summary = run(images(tmp_path / "in", 20, 30, 150, 255, 10), tmp_path / "out.mcap")
    assert (summary.frames, summary.bad_frames, summary.out_of_distribution_frames) == (5, 0, 1)
    assert summary.swaps == [
        Swap(0, ("night", "dusk"), (0.75, 0.25)),
        Swap(SECOND // 5, ("day",), (1.0,)),
        Swap(2 * SECOND // 5, ("night", "dusk"), (0.75, 0.25)),
    ]
    assert summary.fps > 0


def test_progress_counts_bad_images_too(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1, 2, 3, 4)
    (tmp_path / "in" / "1.png").write_bytes(b"")
    steps: list[tuple[int, int | None]] = []
    run(recording, tmp_path / "out.mcap", on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (3, 4), (4, 4)]


def test_images_that_cannot_be_decoded_or_segmented_are_counted_reported_and_skipped(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1, 2, 3, 4)
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    errors: list[SemlaError] = []
    summary = run(recording, tmp_path / "out.mcap", DarknessPipeline(fails_at=(2,)), on_error=errors.append)
    assert (summary.frames, summary.bad_frames) == (2, 2)
    assert "0.png" in str(errors[0])
    assert str(errors[1]) == f"stamp {SECOND // 5}: not finite (embedding)"
    assert [stamp(m) for _, m in read(tmp_path / "out.mcap")[MASK]] == [SECOND // 10, 3 * SECOND // 10]


def test_a_failing_adaptation_is_reported_once_and_loses_no_frame(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    pipeline = DarknessPipeline(error="adapter night is truncated")
    summary = run(images(tmp_path / "in", 1, 2, 3), tmp_path / "out.mcap", pipeline, on_error=errors.append)
    assert (summary.frames, summary.bad_frames) == (3, 0)
    assert [str(error) for error in errors] == ["stamp 0: cannot adapt: adapter night is truncated"]


def test_the_readable_part_of_a_recording_that_ends_early_is_written_and_marked_incomplete(tmp_path: Path) -> None:
    errors: list[SemlaError] = []
    recording = open_recording(half_video(tmp_path))
    summary = run(recording, tmp_path / "out.mcap", on_error=errors.append)
    assert summary.incomplete is errors[-1]
    assert summary.incomplete.missing == 38 - summary.frames - summary.bad_frames
    assert len(read(tmp_path / "out.mcap")[MASK]) == summary.frames > 5


def test_a_complete_recording_is_not_marked_incomplete(tmp_path: Path) -> None:
    assert run(images(tmp_path / "in", 1, 2), tmp_path / "out.mcap").incomplete is None


def test_a_recording_without_a_good_image_is_refused_and_leaves_no_files(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1)
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    with pytest.raises(RecordingError, match=r"no image could be segmented .*got 1 bad images"):
        run(recording, tmp_path / "out.mcap")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def write_drive(path: Path, stamps: list[int], ground_truth: list[int]) -> Recording:
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "sensor_msgs/msg/Image"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection("/camera/image_raw", kind, typestore=store)
        mask = writer.add_connection("/camera/ground_truth", kind, typestore=store)
        for index, time_ns in enumerate(stamps):
            header = store.types["std_msgs/msg/Header"](
                store.types["builtin_interfaces/msg/Time"](*divmod(time_ns, SECOND)), "front"
            )
            for connection in [camera] + [mask] * (time_ns in ground_truth):
                grey = np.full(6, index, np.uint8)
                message = store.types[kind](header, 2, 3, "mono8", 0, 3, grey)
                writer.write(connection, (index + 1) * SECOND, store.serialize_cdr(message, kind))
    return open_recording(path)


def test_frames_with_a_ground_truth_mask_of_their_stamp_are_scored(tmp_path: Path) -> None:
    scored: list[tuple[int, int]] = []

    def score(result: SegmentationResult, ground_truth: np.ndarray) -> None:
        assert ground_truth.shape == result.labels.shape
        scored.append((result.frame.stamp_ns, int(ground_truth[0, 0])))

    run(write_drive(tmp_path / "drive", [100, 200, 300], [100, 300]), tmp_path / "out.mcap", score=score)
    assert scored == [(100, 0), (300, 2)]


def test_stamps_that_jump_back_are_kept_and_the_bag_is_in_order(tmp_path: Path) -> None:
    run(write_drive(tmp_path / "drive", [500, 900, 300, 700], []), tmp_path / "out.mcap")
    masks = read(tmp_path / "out.mcap")[MASK]
    assert [stamp(message) for _, message in masks] == [500, 900, 300, 700]
    assert [time_ns for time_ns, _ in masks] == [500, 900, 900, 900]


@pytest.mark.parametrize("fixture", FIXTURES)
def test_the_same_input_twice_gives_the_same_file(tmp_path: Path, fixture: str) -> None:
    for name in ("a", "b"):
        run(open_recording(DATA / fixture), tmp_path / name / "out.mcap", with_overlay=True)
    digests = {hashlib.sha256((tmp_path / name / "out.mcap").read_bytes()).hexdigest() for name in ("a", "b")}
    assert len(digests) == 1


def test_a_name_without_suffix_gives_a_bag_folder_with_metadata(tmp_path: Path) -> None:
    run(images(tmp_path / "in", 1), tmp_path / "deep" / "out")
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == ["metadata.yaml", "out.mcap"]
    assert len(read(tmp_path / "deep" / "out")[MASK]) == 1


@pytest.mark.parametrize("name", ["out.mcap", "out"])
def test_an_existing_output_is_replaced_only_with_overwrite(tmp_path: Path, name: str) -> None:
    recording = images(tmp_path / "in", 1, 2)
    run(recording, tmp_path / name)
    shorter = images(tmp_path / "shorter", 1)
    with pytest.raises(RecordingError, match=f"output exists already .*{name}"):
        run(shorter, tmp_path / name)
    assert len(read(tmp_path / name)[MASK]) == 2
    run(shorter, tmp_path / name, overwrite=True)
    assert len(read(tmp_path / name)[MASK]) == 1
    assert no_leftovers(tmp_path)


def test_a_folder_without_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "notes.txt").write_text("keep me")
    with pytest.raises(RecordingError, match="holds no bag"):
        run(recording, tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "notes.txt").read_text() == "keep me"


def test_a_file_that_is_no_bag_is_never_overwritten(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1)
    (tmp_path / "notes").write_text("keep me")
    with pytest.raises(RecordingError, match="output is a file that is no bag"):
        run(recording, tmp_path / "notes", overwrite=True)
    assert (tmp_path / "notes").read_text() == "keep me"


def test_a_full_disk_is_reported_with_the_name_of_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ResultBag, "write", full)
    with pytest.raises(RecordingError, match=r"output cannot be written \(.*out.mcap\).*No space left"):
        run(images(tmp_path / "in", 1), tmp_path / "out.mcap")
    assert no_leftovers(tmp_path)


@pytest.mark.parametrize("name", ["out.mcap", "out"])
def test_an_existing_bag_stays_if_the_new_one_cannot_take_its_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, out = images(tmp_path / "in", 1, 2), tmp_path / name
    run(recording, out)
    shorter, replace_file = images(tmp_path / "shorter", 1), os.replace

    def full(source: Path, target: Path) -> None:
        if target == out:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RecordingError, match=rf"output cannot be written \(.*{name}\).*No space left"):
        run(shorter, out, overwrite=True)
    assert len(read(out)[MASK]) == 2
    assert no_leftovers(tmp_path)


def test_the_recording_itself_is_never_overwritten(tmp_path: Path) -> None:
    recording = write_drive(tmp_path / "drive", [100], [])
    with pytest.raises(RecordingError, match="would replace the recording itself"):
        run(recording, tmp_path / "drive" / ".." / "drive", overwrite=True)


def test_neither_a_file_of_the_recording_nor_the_folder_around_it_is_overwritten(tmp_path: Path) -> None:
    recording = write_drive(tmp_path / "drive", [100], [])
    (file,) = (tmp_path / "drive").glob("*.mcap")
    before = file.read_bytes()
    with pytest.raises(RecordingError, match="would replace the recording itself"):
        run(recording, file, overwrite=True)
    single = open_recording(file)
    with pytest.raises(RecordingError, match="would replace the recording itself"):
        run(single, tmp_path / "drive", overwrite=True)
    assert file.read_bytes() == before
    assert (tmp_path / "drive" / "metadata.yaml").is_file()


def test_the_error_for_an_output_that_cannot_be_written_names_it(tmp_path: Path) -> None:
    recording = images(tmp_path / "in", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match=r"cannot be written .*out\.mcap"):
        run(recording, tmp_path / "file" / "out.mcap")


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("name", ["out.mcap", "out"])
def test_an_interrupted_replay_leaves_no_files_and_keeps_an_existing_bag(
    tmp_path: Path, name: str, interruption: type[BaseException]
) -> None:
    recording = images(tmp_path / "in", 1, 2, 3)
    run(recording, tmp_path / name)

    def interrupt(done: int, total: int | None) -> None:
        if done == 2:
            raise interruption

    for out in (tmp_path / name, tmp_path / f"new_{name}"):
        with pytest.raises(interruption):
            run(recording, out, overwrite=True, on_progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", name]
    assert len(read(tmp_path / name)[MASK]) == 3


@pytest.fixture(scope="module")
def bundled() -> Callable[[], Any]:
    """Builds pipelines of the bundled model."""
    from semla_ros.config import changed
    from semla_ros.pipeline.build import build_pipeline

    config = changed(Config(), {"model.device": "cpu"})
    return lambda: build_pipeline(config)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_the_bundled_model_gives_the_same_swaps_and_masks_twice(
    tmp_path: Path, fixture: str, bundled: Callable[[], Any]
) -> None:
    recording = open_recording(DATA / fixture)
    summaries = [run(recording, tmp_path / name / "out.mcap", bundled()) for name in "ab"]
    assert summaries[0].frames == recording.frame_count
    assert summaries[0].swaps == summaries[1].swaps
    assert len(summaries[0].swaps) >= 1
    assert all(sum(swap.weights) == pytest.approx(1.0) for swap in summaries[0].swaps)
    assert (tmp_path / "a" / "out.mcap").read_bytes() == (tmp_path / "b" / "out.mcap").read_bytes()
