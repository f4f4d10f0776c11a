from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("foxglove")

from live.process import until
from rosbags.rosbag2 import Reader
from tiny import drive

from semla_ros.config import NodeConfig, changed
from semla_ros.errors import RecordingError
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.recordings import open_recording
from semla_ros.recordings.writer import STORE, mcap_writer, new, result_bag
from semla_ros.topics import messages
from semla_ros.topics.domain import DomainSample
from semla_ros.view.player import Player
from semla_ros.view.results import NoResultsError, Results
from semla_ros.view.run import open_player
from semla_ros.view.scene import Scene
from semla_ros.view.source import ViewError

SECOND = 1_000_000_000
FRAMES = drive(("blue", 1.0), ("red", 1.0))


def written(folder: Path, pipeline: SemlaPipeline, with_overlay: bool = False) -> Path:
    """A bag as ``semla replay`` writes it."""
    with result_bag(folder, pipeline.classes, with_overlay=with_overlay) as bag:
        for frame in FRAMES:
            bag.write(pipeline.process(frame))
    return folder


def images(folder: Path) -> Path:
    """The camera's images with their stamps as names."""
    folder.mkdir()
    for frame in FRAMES:
        assert cv2.imwrite(str(folder / f"{frame.stamp_ns:018d}.png"), frame.rgb[..., ::-1])
    return folder


def watched(*arguments: Any, **options: Any) -> Player:
    player = open_player(*arguments, **options)
    player.watch(True)
    return player


def read(results: Results) -> tuple[list[Scene], list[DomainSample], list[Exception]]:
    errors: list[Exception] = []
    items = list(results.items(errors.append))
    scenes = [each for each in items if isinstance(each, Scene)]
    return scenes, [each for each in items if isinstance(each, DomainSample)], errors


def test_a_bag_of_results_gives_masks_classes_and_domain_states(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    scenes, samples, errors = read(Results(written(tmp_path / "bag", pipeline)))
    assert [each.stamp_ns for each in scenes] == [each.stamp_ns for each in samples] == [f.stamp_ns for f in FRAMES]
    assert [each.name for each in scenes[0].classes] == ["road", "sky", "car"]
    assert scenes[0].labels.shape == scenes[0].confidence.shape == FRAMES[0].rgb.shape[:2]
    assert scenes[0].rgb is None
    assert samples[0].adapters
    assert errors == []


def test_the_overlay_in_a_bag_is_shown_as_it_is(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    scenes, _, _ = read(Results(written(tmp_path / "bag", pipeline, with_overlay=True)))
    assert len(scenes) == len(FRAMES)
    assert all(each.blended and each.rgb is not None for each in scenes)


def test_the_cameras_own_recording_gives_the_images(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    player = watched(written(tmp_path / "bag", pipeline), NodeConfig(), images=images(tmp_path / "images"))
    until(lambda: player.status()["player"]["complete"], "the bag to be read")
    assert not any("read" in each.text for each in player.notices())
    np.testing.assert_allclose(player.newest().scene.rgb.mean((0, 1)), FRAMES[0].rgb.mean((0, 1)), atol=4)
    player.close()


def bag_of_images(folder: Path, *topics: str) -> Path:
    """A bag with one image of equal stamp in each topic: grey levels 0, 10, 20, ... in the order of the topics."""
    with mcap_writer(folder) as writer:
        for number, topic in enumerate(topics):
            pixels = np.full((4, 6) if "segmentation" in topic else (4, 6, 3), 10 * number, np.uint8)
            message = messages.image(messages.header(SECOND, "camera", new), pixels, new)
            connection = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connection, SECOND, STORE.serialize_cdr(message, message.__msgtype__))
    return folder


def renamed(bag: Path, folder: Path, names: dict[str, str]) -> Path:
    """A copy of a bag with other names of topics; topics without a new name are left out."""
    with mcap_writer(folder) as writer, Reader(bag) as reader:
        wanted = [each for each in reader.connections if each.topic in names]
        connections = {
            each.id: writer.add_connection(names[each.topic], each.msgtype, typestore=STORE) for each in wanted
        }
        for connection, time_ns, data in reader.messages(wanted):
            writer.write(connections[connection.id], time_ns, bytes(data))
    return folder


@pytest.mark.parametrize("space", ["/", "/front/"], ids=["one state of all cameras", "a state of each camera"])
def test_a_bag_of_a_node_with_several_cameras_gives_classes_and_domain_states(
    tmp_path: Path, pipeline: SemlaPipeline, space: str
) -> None:
    names = {f"/semla/segmentation/{name}": f"/front/segmentation/{name}" for name in ("mask", "confidence")}
    names |= {"/semla/segmentation/labels": "/segmentation/labels", "/semla/domain/state": f"{space}domain/state"}
    bag = renamed(written(tmp_path / "one", pipeline), tmp_path / "several", names)
    scenes, samples, _ = read(Results(bag))
    assert len(scenes) == len(samples) == len(FRAMES)
    assert [each.name for each in scenes[0].classes] == ["road", "sky", "car"]


@pytest.mark.parametrize("count", [1, 2], ids=["without images", "with images"])
def test_the_last_mask_is_shown_although_its_confidence_is_missing(tmp_path: Path, count: int) -> None:
    topics = "/semla/segmentation/mask", "/camera/image_raw"
    (scene,), _, errors = read(Results(bag_of_images(tmp_path / "bag", *topics[:count])))
    assert (scene.rgb is None, scene.confidence) == (count == 1, None)
    assert errors == []


def test_the_last_mask_without_confidence_gets_its_image_from_the_other_recording(tmp_path: Path) -> None:
    masks = bag_of_images(tmp_path / "masks", "/semla/segmentation/mask")
    images = bag_of_images(tmp_path / "images", "/camera/image_raw")
    (scene,), _, _ = read(Results(masks, open_recording(images)))
    assert scene.rgb is not None


def test_outputs_of_another_camera_are_not_taken_for_camera_images(tmp_path: Path) -> None:
    names = "mask", "confidence"
    outputs = [f"/{camera}/segmentation/{name}" for camera in ("front", "rear") for name in names]
    ((scene,), _, _) = read(Results(bag_of_images(tmp_path / "bag", *outputs, "/usb/front/image_raw")))
    assert scene.rgb is not None
    assert scene.rgb[0, 0].tolist() == [40, 40, 40]
    assert not scene.blended


def test_the_overlay_is_preferred_where_the_bag_has_several_cameras(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    outputs = [f"/semla/segmentation/{name}" for name in ("mask", "confidence", "overlay")]
    results = Results(bag_of_images(tmp_path / "bag", *outputs, "/left/image_raw", "/right/image_raw"))
    ((scene,), _, _) = read(results)
    assert scene.blended


def test_a_topic_names_the_camera_in_the_recording_of_the_images(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    masks = bag_of_images(tmp_path / "masks", "/semla/segmentation/mask", "/semla/segmentation/confidence")
    cameras = bag_of_images(tmp_path / "cameras", "/left/image_raw", "/right/image_raw")
    player = watched(masks, NodeConfig(), topic="/right/image_raw", images=cameras)
    until(lambda: player.newest(), "the image")
    assert player.newest().scene.rgb.mean() == pytest.approx(10, abs=4)
    player.close()


def test_a_bag_without_masks_holds_no_results(tmp_path: Path) -> None:
    with pytest.raises(NoResultsError):
        Results(images(tmp_path / "images"))


def test_a_damaged_bag_is_refused_with_the_remedy(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    (storage,) = written(tmp_path / "bag", pipeline).glob("*.mcap")
    damaged = tmp_path / "damaged.mcap"
    damaged.write_bytes(storage.read_bytes()[:300])
    with pytest.raises(RecordingError, match="mcap recover"):
        open_player(damaged, NodeConfig())


def test_a_damaged_message_is_counted_and_the_rest_is_shown(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    bag = written(tmp_path / "bag", pipeline)
    with mcap_writer(tmp_path / "copy") as writer:
        topic = writer.add_connection("/semla/segmentation/mask", "sensor_msgs/msg/Image", typestore=STORE)
        writer.write(topic, FRAMES[0].stamp_ns, b"\0\1\0\0 no image")
        connections = {}
        with Reader(bag) as reader:
            for connection, time_ns, data in reader.messages():
                if connection.topic != topic.topic and connection.topic not in connections:
                    connections[connection.topic] = writer.add_connection(
                        connection.topic, connection.msgtype, typestore=STORE
                    )
                writer.write(connections.get(connection.topic, topic), time_ns, bytes(data))
    scenes, _, errors = read(Results(tmp_path / "copy"))
    assert len(scenes) == len(FRAMES)
    assert "undecodable message" in str(errors[0])


@pytest.mark.parametrize("text", ["5", "null", "[1]", "{"])
def test_classes_that_are_no_classes_are_counted_and_the_rest_is_shown(
    tmp_path: Path, pipeline: SemlaPipeline, text: str
) -> None:
    bag = written(tmp_path / "bag", pipeline)
    labels = "/semla/segmentation/labels"
    with Reader(bag) as reader:
        (connection,) = (each for each in reader.connections if each.topic == labels)
        ((_, _, data),) = reader.messages([connection])
    message = STORE.deserialize_cdr(data, connection.msgtype)
    results = Results(bag)
    message.data = text
    deserialized = results._bag.deserialized
    results._bag.deserialized = lambda each: message if each.topic == labels else deserialized(each)  # type: ignore[method-assign]
    scenes, _, errors = read(results)
    assert len(scenes) == len(FRAMES)
    assert labels in str(errors[0])


def test_a_missing_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such recording"):
        open_player(tmp_path / "none.mcap", NodeConfig())


def test_a_camera_recording_is_segmented_while_it_is_shown(tmp_path: Path, bundle: Path) -> None:
    config = changed(NodeConfig(), {"model.bundle": str(bundle), "model.device": "cpu"})
    player = watched(images(tmp_path / "images"), config)
    until(lambda: player.newest(), "the first image")
    assert player.act("freeze", True) == "the mixture is held"
    assert "3 adapters" in player.act("reload_library")
    assert "first" in player.act("reset")
    with pytest.raises(ViewError, match="no such action"):
        player.act("explode")
    player.act("speed", 10)

    def complete() -> bool:
        player.newest()
        return player.status()["player"]["complete"]

    until(complete, "the recording to be segmented")
    assert player.status()["player"]["count"] == len(FRAMES)
    assert player.history.newest.frozen
    with pytest.raises(ViewError, match="whole recording"):
        player.act("freeze", False)
    player.close()


def test_a_topic_asks_for_the_images_to_be_segmented_although_the_bag_has_masks(
    tmp_path: Path, pipeline: SemlaPipeline, bundle: Path
) -> None:
    config = changed(NodeConfig(), {"model.bundle": str(bundle), "model.device": "cpu"})
    bag = written(tmp_path / "bag", pipeline, with_overlay=True)
    player = watched(bag, config, topic="semla/segmentation/overlay")
    until(lambda: player.newest(), "the first image")
    assert player.status()["actions"]
    player.close()


def test_options_that_a_recording_does_not_have_are_refused(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    with pytest.raises(RecordingError, match="only for image files"):
        open_player(written(tmp_path / "bag", pipeline), NodeConfig(), fps=3)
    with pytest.raises(RecordingError, match="only for a bag with the node's masks"):
        open_player(images(tmp_path / "images"), NodeConfig(), images=tmp_path)


def test_models_that_cannot_be_loaded_are_reported_in_the_view(tmp_path: Path) -> None:
    config = changed(NodeConfig(), {"model.bundle": str(tmp_path / "none")})
    player = watched(images(tmp_path / "images"), config)
    until(lambda: player.status()["player"]["complete"], "the reading to end")
    assert "bundle" in player.notices()[0].text
    player.close()
