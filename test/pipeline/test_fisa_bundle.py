"""A bundle of kind fisa runs through pipeline, replay, evaluation, training and node, none of which knows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from tiny import CLASSES, drive, image
from tiny_fisa import ARCH, random_fisa, two_halves, write_fisa_bundle

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import BundleError
from semla_ros.library.bundle import ADAPTERS, SEGMENTER, Bundle
from semla_ros.library.manifest import MANIFEST
from semla_ros.modeling.base import PanopticSegmenter
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.streetworld.dataset import write_dataset


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fisa_bundle(tmp_path_factory.mktemp("models") / "fisa")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "fisa"))


def build(bundle: Path, **settings: object) -> SemlaPipeline:
    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu", **settings}))


def test_weights_and_architecture_survive_the_bundle(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.segmenter == ARCH
    network, expected = opened.load_network().state_dict(), random_fisa().state_dict()
    assert network.keys() == expected.keys()
    assert all(network[name].equal(value) for name, value in expected.items())


def test_the_pipeline_swaps_adapters_of_clip_and_encodes_the_classes_again(bundle: Path) -> None:
    pipeline = build(bundle, **{"navigator.period_s": 0.5, "tracker.debounce_s": 1.0, "tracker.min_interval_s": 2.0})
    segmenter = pipeline.segmenter
    assert isinstance(segmenter, PanopticSegmenter)
    base, text = segmenter.segment(two_halves())[1], segmenter.text.clone()
    results = [pipeline.process(each) for each in drive(("red", 3), ("blue", 8))]
    assert [result.domain.error for result in results if result.domain.error] == []
    assert len([result for result in results if result.domain.swapped]) >= 2
    assert not segmenter.text.equal(text)
    assert np.abs(segmenter.segment(two_halves())[1] - base).max() > 1e-3
    pipeline.fuse(Mixture())
    assert segmenter.text.equal(text)
    assert (segmenter.segment(two_halves())[1] == base).all()


def test_classes_change_while_it_runs(bundle: Path) -> None:
    pipeline = build(bundle)
    pipeline.configure(changed(pipeline.config, {"segmenter.classes": ("tree", "person")}))
    labels, _ = pipeline.segment(two_halves())
    assert labels.max() <= 1
    assert pipeline.segmenter.things == (False, True)


def test_a_replay_writes_its_masks(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), two_halves()[..., ::-1])
    out = tmp_path / "out.mcap"
    assert main(["replay", str(tmp_path / "images"), "-o", str(out), "--bundle", str(bundle)]) == 0
    with AnyReader([out]) as reader:
        masks = [each for each in reader.connections if each.topic.endswith("/mask")]
        assert len(list(reader.messages(masks))) == 3


def test_it_is_evaluated(bundle: Path, tmp_path: Path) -> None:
    for domain in ("dusk", "fog_day"):
        write_dataset(tmp_path / "data" / domain, domain, 1, 0, (48, 64), layout="cityscapes")
    options = ["--set", "segmenter.classes=[road, sky, car]", "--set", "model.device=cpu", "--short-side", "32"]
    argv = ["evaluate", "--protocol", "semla", "--data", str(tmp_path / "data"), "--json", str(tmp_path / "scores")]
    assert main([*argv, "--bundle", str(bundle), "--methods", "zero_shot,uniform", *options]) == 0
    assert "zero_shot" in (tmp_path / "scores").read_text()


def test_an_adapter_is_trained_for_it(bundle: Path, tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for index in range(8):
        labels = np.zeros((48, 48), np.uint8)
        labels[:, 24:] = 2
        cv2.imwrite(str(tmp_path / f"images/{index}.png"), two_halves()[:48, 24:72, ::-1])
        cv2.imwrite(str(tmp_path / f"labels/{index}.png"), labels)
    argv = ["train", "adapter", str(tmp_path / "images"), str(tmp_path / "labels"), "--steps", "3", "--batch", "2"]
    assert main([*argv, "-o", str(bundle / ADAPTERS / "mine"), "--bundle", str(bundle), "--device", "cpu"]) == 0
    assert "mine" in build(bundle).library.names


@pytest.mark.live
def test_the_node_segments_with_it(pristine: Path) -> None:
    pytest.importorskip("rclpy")
    from live.robot import MASK, Robot, stamp_ns
    from live.robot import image as message
    from sensor_msgs.msg import Image

    with Robot() as robot:
        process = robot.start("-m", "semla_ros.node.main", parameters={"model.bundle": str(pristine)})
        robot.until_active()
        masks = robot.listen(Image, MASK)
        with robot.camera() as publish:
            sent = message(1_000_000_000, height=64, width=96)
            publish(sent)
            robot.until(lambda: masks, "a mask")
        assert stamp_ns(masks[0]) == stamp_ns(sent)
        assert (masks[0].height, masks[0].width, masks[0].encoding) == (64, 96, "mono8")
        assert process.stop() == 0, process.log


def describe(bundle: Path, old: str, new: str) -> None:
    """Changes the description of a bundle, and removes the manifest that would show it."""
    file = bundle / "bundle.yaml"
    file.write_text(file.read_text().replace(old, new))
    (bundle / MANIFEST).unlink()


def test_weights_of_another_generator_are_refused_naming_tensors(bundle: Path) -> None:
    describe(bundle, "num_queries: 6", "num_queries: 7")
    with pytest.raises(BundleError, match=r"generator.model.transformer_module.queries_.* instead of \(7, 32\)"):
        Bundle.open(bundle).load_network()


def test_a_description_of_a_huge_generator_is_refused_without_memory_for_it(bundle: Path) -> None:
    describe(bundle, "num_queries: 6", "num_queries: 60000000000")
    with pytest.raises(BundleError):
        Bundle.open(bundle).load_network()


def test_a_generator_with_an_unknown_backbone_is_refused(bundle: Path) -> None:
    describe(bundle, "model_type: swin", "model_type: timm_backbone")
    with pytest.raises(BundleError, match=r"unknown backbone.*got timm_backbone, expected swin or resnet"):
        Bundle.open(bundle).load_network()


def test_weights_without_a_generator_are_refused(bundle: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(bundle / SEGMENTER)
    kept = {name: value for name, value in state.items() if not name.startswith("generator.")}
    save_file(kept, bundle / SEGMENTER)
    (bundle / MANIFEST).unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(bundle).load_network()


def test_an_image_of_12_million_pixels_is_segmented(bundle: Path) -> None:
    rgb = np.tile(image("red", height=300, width=400), (10, 10, 1))
    found = build(bundle).segmenter.segment_instances(rgb)
    assert found.labels.shape == found.instances.shape == (3000, 4000)
    assert len(CLASSES) > found.labels.max()
