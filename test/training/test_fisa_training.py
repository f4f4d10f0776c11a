from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_fisa import write_fisa_bundle

from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import TrainingError
from semla_ros.evaluation.coco_panoptic import CocoPanoptic
from semla_ros.images.panoptic import INSTANCE
from semla_ros.library.bundle import Bundle
from semla_ros.library.importing_parts import import_parts
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.segmenter import FisaSegmenter
from semla_ros.modeling.fisa.simo import TRAINED
from semla_ros.pipeline.build import build_pipeline
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.dataset import sample, write_dataset
from semla_ros.training.checkpoint import Checkpoint
from semla_ros.training.fisa import PRESETS, FisaTask, train_fisa
from semla_ros.training.mask_generator import SIZE, train_masks
from semla_ros.training.panoptic_samples import GREY, PanopticSamples, cropped
from semla_ros.training.schedule import Schedule


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fisa_bundle(tmp_path_factory.mktemp("models") / "fisa")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "clear_day"
    write_dataset(folder, "clear_day", 4, 0, (60, 96), layout="coco")
    return folder


def task(base: Path, data: Path, out: Path, **changes: Any) -> FisaTask:
    settings = {"changes": {"steps": 4, "batch": 2, "lr": 1e-3}, "device": "cpu", **changes}
    return FisaTask(data / "images", data / "panoptic.json", out, str(base), **settings)


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    return Bundle.open(bundle).load_network().state_dict()


@pytest.mark.parametrize("trained", [*TRAINED])
def test_the_new_bundle_differs_from_the_base_in_what_is_trained(
    base: Path, data: Path, tmp_path: Path, trained: str
) -> None:
    assert train_fisa(task(base, data, tmp_path / "out", trained=trained)) == 4
    before, after = weights(base), weights(tmp_path / "out")
    differ = {name for name, value in after.items() if not torch.equal(value, before[name].half().float())}
    network: Any = Bundle.open(base).load_network()
    started_anew = {name for name in before if name.startswith(("seve.", "distribution."))}
    assert differ == TRAINED[trained](network).keys() | started_anew


def test_the_new_bundle_has_seve_in_all_layers_and_the_classes_of_the_data(
    base: Path, data: Path, tmp_path: Path
) -> None:
    train_fisa(task(base, data, tmp_path / "out"))
    bundle, dataset = Bundle.open(tmp_path / "out"), CocoPanoptic(data / "images", data / "panoptic.json")
    arch = bundle.segmenter
    assert isinstance(arch, FisaArch)
    assert (arch.seve_layers, arch.void) == ((0, 1, 2), "nothing")
    assert bundle.classes == dataset.classes
    assert set(arch.things) == {"car", "person"}
    assert set(arch.stuff) == set(CLASSES) - {"car", "person"}
    pipeline = build_pipeline(changed(Config(), {"model.bundle": str(bundle.path), "model.device": "cpu"}))
    assert pipeline.segment(sample("clear_day", 0, 0, (60, 96)).rgb)[0].shape == (60, 96)
    card = (bundle.path / "README.md").read_text()
    assert "4 steps of 2 images" in card
    assert len(list(csv.DictReader((bundle.path / "training.csv").open()))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_things_of_the_data_have_instances_in_the_new_bundle_whatever_their_names(
    base: Path, data: Path, tmp_path: Path
) -> None:
    values = json.loads((data / "panoptic.json").read_text())
    names = {"car": "Car, automobile", "person": "walker"}
    for each in values["categories"]:
        each.update(name=names.get(each["name"], each["name"]), isthing=each["name"] == "car")
    (tmp_path / "panoptic.json").write_text(json.dumps(values))
    (tmp_path / "panoptic").symlink_to(data / "panoptic")
    short = task(base, data, tmp_path / "out", changes={"steps": 1, "batch": 1})
    train_fisa(replace(short, annotations=tmp_path / "panoptic.json"))
    segmenter = build_pipeline(
        changed(Config(), {"model.bundle": str(tmp_path / "out"), "model.device": "cpu"})
    ).segmenter
    assert isinstance(segmenter, FisaSegmenter)
    assert {name for name, thing in zip(segmenter.classes, segmenter.things, strict=True) if thing} == {names["car"]}
    segmenter.set_classes(["truck", "walker", "person"])
    assert segmenter.things == (True, False, True)


def test_a_trained_bundle_differs_in_no_file_from_its_manifest(base: Path, data: Path, tmp_path: Path) -> None:
    train_fisa(task(base, data, tmp_path / "out", changes={"steps": 1, "batch": 1}))
    assert main(["models", "verify", str(tmp_path / "out")]) == 0


def test_an_interrupted_training_continues_with_the_same_result(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semla_ros.training.loop.ROW", 1)
    monkeypatch.setattr(Checkpoint, "save_periodically", Checkpoint.save)
    train_fisa(task(base, data, tmp_path / "whole"))
    draw, calls = PanopticSamples.draw, []

    def stopping(self: PanopticSamples, *args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(self, *args)

    monkeypatch.setattr(PanopticSamples, "draw", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_fisa(task(base, data, tmp_path / "parts"))
    assert not (tmp_path / "parts").exists()
    train_fisa(task(base, data, tmp_path / "parts"))
    assert len(calls) == 3 + 2
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_command_trains_and_says_where_the_result_is(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "fisa", str(data / "images"), str(data / "panoptic.json"), "-o", str(tmp_path / "out")]
    argv += ["--bundle", str(base), "--steps", "1", "--batch", "1", "--device", "cpu", "--adapter-layers", "3"]
    assert main(argv) == 0
    assert "trained with 4 images" in capsys.readouterr().out
    arch = Bundle.open(tmp_path / "out").segmenter
    assert isinstance(arch, FisaArch)
    assert arch.adapter_layers == 3
    assert main(argv) == 1
    assert "the bundle exists already" in capsys.readouterr().err
    assert main([*argv, "--preset", "fast"]) == 1
    assert "no such preset (--preset): got fast, expected small or paper or ablation" in capsys.readouterr().err


def test_a_trained_generator_is_imported_and_fisa_is_trained_on_its_masks(
    data: Path, pristine_bundle: Path, tmp_path: Path
) -> None:
    train_masks(data / "images", data / "panoptic.json", tmp_path / "masks", Schedule(1, 1, 1e-4))
    base = import_parts(tmp_path / "masks", pristine_bundle, tmp_path / "base", "fisa", 32)
    assert isinstance(base.segmenter, FisaArch)
    assert (base.segmenter.generator_short, base.segmenter.generator_long) == SIZE
    train_fisa(task(tmp_path / "base", data, tmp_path / "out", changes={"steps": 1, "batch": 1}))
    generator = [name for name in weights(tmp_path / "out") if name.startswith("generator.")]
    before, after = weights(tmp_path / "base"), weights(tmp_path / "out")
    assert all(torch.equal(after[name], before[name].to(torch.float16).to(before[name])) for name in generator)


def test_a_bundle_of_another_kind_is_refused(data: Path, pristine_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"not a FISA bundle.*got catseg, expected fisa.*semla models import"):
        train_fisa(task(pristine_bundle, data, tmp_path / "out"))


@pytest.mark.parametrize(
    ("begun", "repeated", "said"),
    [
        ({}, {"seed": 3}, "training with other settings"),
        ({"fields": {"adapter_layers": 3}}, {}, r"other settings.*got fields\.adapter_layers 3, expected .*None"),
    ],
)
def test_an_unfinished_training_is_not_continued_with_other_settings_or_without_its_options(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: Any, repeated: Any, said: str
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("semla_ros.training.fisa.fit", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_fisa(task(base, data, tmp_path / "out", **begun))
    (tmp_path / ".out.training/fisa.pt").touch()  # as if it had been interrupted later
    with pytest.raises(TrainingError, match=said):
        train_fisa(task(base, data, tmp_path / "out", **repeated))


def test_the_papers_schedule_is_a_preset() -> None:
    paper = PRESETS["paper"]
    schedule = paper.schedule
    assert (schedule.steps, schedule.batch, schedule.lr, schedule.weight_decay) == (25_000, 16, 1e-4, 0.05)
    assert (paper.clip_rate, paper.jitter, paper.crop) == (0.1, (0.1, 2.0), 1024)
    assert PRESETS["ablation"].schedule.steps == 10_000


def test_crops_are_reproducible_and_have_the_size_asked_for(data: Path) -> None:
    dataset = CocoPanoptic(data / "images", data / "panoptic.json")
    samples = PanopticSamples(dataset, (64, 96), (32, 48), (0.5, 2.0))
    images, labels = samples.draw(6, torch.Generator().manual_seed(1))
    again = samples.draw(6, torch.Generator().manual_seed(1))
    assert images.shape == (6, 64, 96, 3)
    assert images.dtype == torch.uint8
    assert labels.shape == (6, 32, 48)
    assert torch.equal(images, again[0])
    assert torch.equal(labels, again[1])
    half = samples.draw(6, torch.Generator().manual_seed(1), slice(1, None, 2))
    assert torch.equal(half[0], images[1::2])


def test_labels_hold_class_and_instance_and_crowds_are_unlabelled(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "panoptic.json").read_text())
    things = {each["id"] for each in content["categories"] if each["isthing"]}
    for annotation in content["annotations"]:
        for segment in annotation["segments_info"]:
            segment["iscrowd"] = int(segment["category_id"] in things)
    crowds = tmp_path / "panoptic.json"
    crowds.write_text(json.dumps(content))
    (tmp_path / "panoptic").symlink_to(data / "panoptic")
    found = []
    for file in (data / "panoptic.json", crowds):
        dataset = CocoPanoptic(data / "images", file)
        _, labels = PanopticSamples(dataset, (60, 96), (60, 96), (1, 1)).draw(12, torch.Generator().manual_seed(0))
        thing = torch.tensor([*dataset.things, *[False] * (256 - len(dataset.things))])[labels % INSTANCE]
        assert ((labels >= INSTANCE) == thing).all()
        found.append(bool(thing.any()))
    assert found == [True, False]


def test_a_small_image_is_filled_up_with_unlabelled_grey() -> None:
    rgb, labels = np.full((10, 20, 3), 7, np.uint8), np.full((10, 20), 2, np.uint16)
    image, truth = cropped(rgb, labels, (20, 40), 0.5, (0.3, 0.7))
    assert (image[:10, :20] == 7).all()
    assert (truth[:10, :20] == 2).all()
    assert (image[10:] == GREY).all()
    assert (truth[:, 20:] == 255).all()


def test_a_large_image_is_cut_where_the_dice_say() -> None:
    labels = np.arange(40, dtype=np.uint16).repeat(20).reshape(40, 20)
    rgb = np.zeros((40, 20, 3), np.uint8)
    for place, first in ((0.0, 0), (0.5, 20), (1.0, 40)):
        _, truth = cropped(rgb, labels, (40, 20), 2.0, (place, 0.0))
        assert truth[0, 0] == first // 2


def test_damaged_images_are_replaced_by_others_and_a_set_of_them_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "clear_day"
    write_dataset(folder, "clear_day", 2, 0, (24, 32), layout="coco")
    first, second = sorted((folder / "images").glob("*.png"))
    first.write_bytes(b"no image")
    dataset = CocoPanoptic(folder / "images", folder / "panoptic.json")
    samples = PanopticSamples(dataset, (24, 32), (24, 32), (1, 1))
    images, _ = samples.draw(8, torch.Generator().manual_seed(0))
    expected = cv2.imread(str(second))[..., ::-1]
    assert all((image.numpy() == expected).all() or (image.numpy() == expected[:, ::-1]).all() for image in images)
    second.write_bytes(b"no image")
    with pytest.raises(TrainingError, match="no image could be read"):
        samples.draw(1, torch.Generator().manual_seed(0))
