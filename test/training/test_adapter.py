"""``semla train adapter`` from folders of images to the folder of an adapter."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny import CLASSES, image, random_network

from semla_ros.adaptation.statistics import Statistics
from semla_ros.cli import main
from semla_ros.cli.train import adapter as train_command
from semla_ros.library.adapter_folder import AdapterFolder
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.lora import LoraFuser
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.training import adapter as adapter_module
from semla_ros.training import checkpoint as checkpoint_module
from semla_ros.training.adapter_place import AdapterPlace
from semla_ros.training.methods import METHODS
from semla_ros.training.presets import PRESETS

IMAGES = 40
FILES = {
    "adapter_config.json", "adapter_model.safetensors", "fog_statistics.npz", "README.md", "curve.png", "SHA256SUMS",
}  # fmt: skip


def write_pair(data: Path, index: int) -> None:
    """A bright sky above a dark road, with the horizon at a height of its own."""
    rgb, labels = image("blue", index), np.ones((24, 40), np.uint8)
    horizon = 6 + index % 12
    rgb[horizon:], labels[horizon:] = image("red", index)[horizon:], 0
    cv2.imwrite(str(data / f"images/{index:03d}.png"), rgb[..., ::-1])
    cv2.imwrite(str(data / f"labels/{index:03d}.png"), labels)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with images and label maps of plain pairs."""
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for index in range(IMAGES):
        write_pair(tmp_path / "data", index)
    return tmp_path / "data"


def command(data: Path, bundle: Path, out: Path, *options: str) -> list[str]:
    argv = ["train", "adapter", str(data / "images"), str(data / "labels"), "-o", str(out), "--bundle", str(bundle)]
    return [*argv, "--device", "cpu", "--steps", "20", "--batch", "4", "--lr", "0.01", *options]


def train(data: Path, bundle: Path, out: Path, *options: str) -> Path:
    """Trains an adapter by the command; returns its folder."""
    assert main(command(data, bundle, out, *options)) == 0
    return out


def refused(capsys: pytest.CaptureFixture[str], data: Path, bundle: Path, out: Path, *options: str) -> str:
    """The message of a command that fails."""
    assert main(command(data, bundle, out, *options)) == 1
    return capsys.readouterr().err


def test_the_command_writes_an_official_folder_with_statistics_and_a_card(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = train(data, pristine_bundle, tmp_path / "library/fog")
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == ["fog"]
    opened = AdapterFolder(out)
    network = random_network()
    opened.check(network.adapted_layers())
    assert (opened.rank, opened.scale) == (8, 2.0)
    assert opened.shapes.keys() == network.adapted_layers().keys()
    navigator = Bundle.open(pristine_bundle).load_navigator()
    rgb = [cv2.imread(str(data / f"images/{index:03d}.png"))[..., ::-1] for index in range(36)]
    expected = Statistics.of(np.array([navigator.embed(np.ascontiguousarray(each)) for each in rgb]))
    assert opened.statistics.count == 36
    assert np.allclose(opened.statistics.centroid, expected.centroid, rtol=1e-5)
    assert opened.statistics.mean_distances["euclidean"] == pytest.approx(
        expected.mean_distances["euclidean"], rel=1e-4
    )
    assert opened.statistics.covariance is not None
    card, shown = (out / "README.md").read_text(), capsys.readouterr().out
    assert "| training images | 36 |" in card
    assert "mIoU on 4 held-out images: " in card
    assert "| learning rate | 0.01, times warm-up and decay: at most 0.0098 |" in card
    assert "trained with 36 images. mIoU on 4 held-out images: " in shown
    assert cv2.imread(str(out / "curve.png")) is not None


def test_training_improves_the_held_out_images_and_the_result_is_the_best_state(
    data: Path, pristine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Any] = []
    card = adapter_module.write_adapter_card

    def remember(folder: Path, outcome: Any, *others: Any) -> None:
        outcomes.append(outcome)
        card(folder, outcome, *others)

    monkeypatch.setattr(adapter_module, "write_adapter_card", remember)
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "60")
    best = outcomes[0].best
    assert best.miou > best.before + 5
    segmenter = CatSegSegmenter(random_network(), CLASSES)
    fuser = LoraFuser(segmenter.adapted_layers())
    assert score(segmenter, data) == pytest.approx(best.before, abs=3)  # at the full size of the label maps
    fuser.apply([AdapterFolder(out).load()], (1.0,))
    segmenter.refresh_text()
    assert score(segmenter, data) == pytest.approx(best.miou, abs=3)


def score(segmenter: CatSegSegmenter, data: Path) -> float:
    """mIoU on the held-out images, percent."""
    from semla_ros.evaluation.metrics import ConfusionMatrix

    confusion = ConfusionMatrix(len(CLASSES))
    for index in range(36, IMAGES):
        rgb = np.ascontiguousarray(cv2.imread(str(data / f"images/{index:03d}.png"))[..., ::-1])
        confusion.add(cv2.imread(str(data / f"labels/{index:03d}.png"), -1), segmenter.segment(rgb)[0])
    return confusion.miou


def contents(folder: Path) -> dict[str, bytes]:
    """Contents of the files that a robot reads."""
    return {name: (folder / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")}


@pytest.mark.parametrize("method", ["lora", "recyclelora"])
def test_the_same_seed_gives_the_same_adapter_and_another_one_another(
    data: Path, pristine_bundle: Path, tmp_path: Path, method: str
) -> None:
    options = "--method", method, "--rank", "4", "--steps", "4"
    one, same, other = (
        train(data, pristine_bundle, tmp_path / name / "fog", *options, "--seed", seed)
        for name, seed in (("one", "3"), ("same", "3"), ("other", "4"))
    )
    assert contents(one) == contents(same)
    assert contents(one) != contents(other)


def test_a_killed_training_continues_to_the_same_adapter(
    data: Path, pristine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(data, pristine_bundle, tmp_path / "whole/fog")
    save = torch.save
    saved = 0

    def save_and_be_killed(state: object, path: Path) -> None:
        nonlocal saved
        save(state, path)
        saved += 1
        if saved == 3:
            os.replace(path, str(path).removesuffix(".partial"))
            raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(checkpoint_module.Checkpoint, "save_periodically", checkpoint_module.Checkpoint.save)
        interrupted.setattr(torch, "save", save_and_be_killed)
        assert main(command(data, pristine_bundle, tmp_path / "killed/fog")) == 130
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".fog.training"]
    resumed = train(data, pristine_bundle, tmp_path / "killed/fog")
    assert contents(resumed) == contents(whole)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["fog"]


def test_an_unfinished_training_is_not_continued_with_other_settings(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(checkpoint_module.Checkpoint, "save_periodically", checkpoint_module.Checkpoint.save)
        interrupted.setattr(adapter_module, "_statistics", interrupt)
        assert main(command(data, pristine_bundle, tmp_path / "fog", "--steps", "2")) == 130
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog", "--seed", "1", "--steps", "3")
    assert "training with other settings" in shown
    assert "got seed 0, schedule.steps 2, expected seed 1, schedule.steps 3" in shown
    capsys.readouterr()
    assert main(command(data, pristine_bundle, tmp_path / "fog", "--steps", "2")) == 0
    assert "fog: continues after step 2 of 2" in capsys.readouterr().err


@pytest.fixture
def unfinished(data: Path, pristine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that was interrupted after its last step; it has a checkpoint."""
    with monkeypatch.context() as interrupted:
        interrupted.setattr(adapter_module, "_statistics", interrupt)
        assert main(command(data, pristine_bundle, tmp_path / "fog", "--steps", "2")) == 130
    return tmp_path / ".fog.training"


@pytest.mark.parametrize("changed", ["images/039.png", "labels/000.png"])  # held out and trained with
def test_an_unfinished_training_is_not_continued_with_other_data(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    unfinished: Path,
    capsys: pytest.CaptureFixture[str],
    changed: str,
) -> None:
    before = (data / changed).read_bytes()
    (data / changed).write_bytes((data / changed).with_name("020.png").read_bytes())
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "checkpoint of another training" in shown
    assert f"({unfinished / 'fog.pt'}): got other images, label maps or base weights than now" in shown
    (data / changed).write_bytes(before)
    train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")


def test_an_unfinished_training_is_not_continued_with_other_base_weights(
    data: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(adapter_module, "_statistics", interrupt)
        assert main(command(data, bundle, tmp_path / "fog", "--steps", "2")) == 130
    with monkeypatch.context() as changed:
        changed.setattr(Bundle, "load_network", lambda self: random_network(seed=5))
        assert "base weights" in refused(capsys, data, bundle, tmp_path / "fog", "--steps", "2")


def test_the_same_bundle_under_another_path_continues_a_training(
    data: Path, pristine_bundle: Path, tmp_path: Path, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pristine_bundle.parent)
    train(data, Path(pristine_bundle.name), tmp_path / "fog", "--steps", "2")
    assert not unfinished.exists()


@pytest.mark.parametrize("content", ["[]", '{"a', "\udcff"])
def test_an_unfinished_training_with_damaged_settings_is_refused(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    unfinished: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
) -> None:
    (unfinished / "settings.json").write_bytes(content.encode(errors="surrogateescape"))
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "settings of a training that cannot be read" in shown


def test_a_training_that_was_refused_for_its_data_can_be_repeated_with_other_settings(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = data / "labels/003.png"
    good = label.read_bytes()
    cv2.imwrite(str(label), np.full((24, 40), 77, np.uint8))
    assert "ids without a class" in refused(capsys, data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    label.write_bytes(good)
    train(data, pristine_bundle, tmp_path / "fog", "--steps", "3")


def test_a_folder_that_is_no_adapter_is_never_replaced(
    data: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ((), ("--overwrite",)):
        shown = refused(capsys, data, bundle, bundle / ADAPTERS, *options)
        assert "this exists and is no adapter" in shown
        assert f"Name the new adapter: {bundle / ADAPTERS / 'NAME'}" in shown
    assert LibraryFolder(bundle / ADAPTERS).names == ("blue", "green", "red")


def test_a_rank_beyond_all_weights_is_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "rank larger than that of any weight" in refused(
        capsys, data, pristine_bundle, tmp_path / "fog", "--rank", "1000"
    )


def test_a_truncated_photograph_is_skipped_and_named(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = data / "images/003.jpg"
    cv2.imwrite(str(photo), np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8))
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    (data / "images/003.png").unlink()
    train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "Skipped (1): 003.jpg" in capsys.readouterr().out


def test_a_file_of_classes_that_is_no_text_is_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.txt").write_bytes(b"\xd0\xff")
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog", "--classes", str(tmp_path / "classes.txt"))
    assert "no list of classes" in shown


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["lora", "recyclelora"])
def test_peft_reads_the_adapter_to_the_same_weights(
    data: Path, pristine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    peft = pytest.importorskip("peft")
    out = train(data, pristine_bundle, tmp_path / "fog", "--method", method, "--rank", "4", "--steps", "6")
    network = random_network()
    base = {name: layer.weight.clone() for name, layer in network.adapted_layers().items()}
    LoraFuser(network.adapted_layers()).apply([AdapterFolder(out).load()], (1.0,))
    model = peft.PeftModel.from_pretrained(random_network(), out, adapter_name="fog")
    modules = dict(model.base_model.model.named_modules())
    for name, layer in network.adapted_layers().items():
        theirs = modules[name].base_layer.weight + modules[name].get_delta_weight("fog")
        assert torch.allclose(layer.weight, theirs, atol=1e-6), name
        assert not torch.equal(layer.weight, base[name])


def test_full_fine_tuning_is_stored_as_a_difference_that_a_pipeline_fuses(data: Path, pipeline: SemlaPipeline) -> None:
    bundle = pipeline.bundle.path
    out = train(data, bundle, bundle / ADAPTERS / "fog", "--method", "full", "--lr", "0.003")
    assert "difference.safetensors" in {path.name for path in out.iterdir()}
    pipeline.reload_library()
    assert pipeline.library.rejected == []
    difference = pipeline.library.load("fog").difference
    assert {"aggregator.conv1.weight", "aggregator.conv1.bias", "clip.visual.ln_post.weight"} <= difference.keys()
    assert "clip.token_embedding.weight" not in difference


def test_the_rank_is_reduced_with_the_error_printed(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--method", "recyclelora", "--rank", "4", "--sub-rank", "1", "--export-rank", "3", "--steps", "4"
    out = train(data, pristine_bundle, tmp_path / "fog", *options)
    assert AdapterFolder(out).rank == 3
    assert "The rank was reduced to 3 with a relative error of 0." in capsys.readouterr().out
    assert "| rank | 3 (main) + 1 (sub), stored as a LoRA of rank 8, reduced to 3" in (out / "README.md").read_text()


def test_classes_of_a_file_replace_those_of_the_bundle(data: Path, pristine_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("floor, ground\nceiling\n")
    out = train(data, pristine_bundle, tmp_path / "fog", "--classes", str(tmp_path / "classes.txt"), "--steps", "2")
    assert "| classes | floor, ground; ceiling |" in (out / "README.md").read_text()


def test_the_help_names_every_method_and_preset(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "adapter", "--help"])
    shown = capsys.readouterr().out
    assert [name for name in (*PRESETS, *METHODS) if not re.search(rf"\b{name}\b", shown)] == []
    assert set(train_command.METHODS) == set(METHODS)


# Bad input


def test_three_images_are_trained_with_and_no_score_is_claimed(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(3, IMAGES):
        (data / f"images/{index:03d}.png").unlink()
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "trained with 3 images. The mIoU was not measured, because there are too few" in capsys.readouterr().out
    assert AdapterFolder(out).statistics.count == 3
    assert "| held-out images | none: too few |" in (out / "README.md").read_text()


def test_a_corrupt_image_in_the_middle_is_named_skipped_and_counted(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    file = data / "images/007.png"
    file.write_bytes(file.read_bytes()[:60])
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    shown = capsys.readouterr().out
    assert "trained with 36 images" in shown
    assert "Skipped (1): 007.png" in shown
    assert [record.message for record in caplog.records if "skipped 007.png" in record.message]
    assert "| skipped images | 007.png |" in (out / "README.md").read_text()


def test_what_is_named_like_an_image_and_is_no_file_is_skipped(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        os.mkfifo(data / folder / "900.png")
    (data / "images/901.png").mkdir()
    (data / "images/902.png").symlink_to(tmp_path / "nothing")
    train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "Skipped (4): 900.png, 901.png, 902.png, 900.png" in capsys.readouterr().out


def test_a_skipped_file_whose_name_is_no_text_or_has_a_line_break_is_named_nevertheless(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (b"\xff.png", b"new\nline.png"):
        Path(os.fsdecode(bytes(data / "images") + b"/" + name)).write_bytes(b"damaged")
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    names = "new\\nline.png, \\udcff.png"
    assert f"Skipped (2): {names}" in capsys.readouterr().out
    assert f"| skipped images | {names} |" in (out / "README.md").read_text()


def test_label_maps_without_images_are_counted(
    data: Path, pristine_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("005", "006"):
        (data / f"images/{name}.png").unlink()
    train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    assert "images: 2 label maps without an image, such as 005.png" in caplog.text


def test_label_maps_as_jpeg_are_refused_with_the_reason(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "labels").iterdir():
        file.rename(file.with_suffix(".jpg"))
    assert "JPEG does not keep class ids" in refused(capsys, data, pristine_bundle, tmp_path / "fog")


def test_images_without_labels_are_refused_and_nothing_is_written(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "labels").iterdir():
        file.unlink()
    assert "images without label maps" in refused(capsys, data, pristine_bundle, tmp_path / "library/fog")
    assert not (tmp_path / "library").exists()


def test_labels_with_unknown_ids_are_refused_by_name(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(data / "labels/005.png"), np.full((24, 40), 9, np.uint8))
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog")
    assert "ids without a class" in shown
    assert "005.png" in shown
    assert "got [9], expected 0 (road) to 2 (car)" in shown


@pytest.mark.parametrize(("value", "message"), [(0, "got road alone"), (255, "no image to train with")])
def test_label_maps_with_fewer_than_two_classes_are_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], value: int, message: str
) -> None:
    for index in range(IMAGES):
        cv2.imwrite(str(data / f"labels/{index:03d}.png"), np.full((24, 40), value, np.uint8))
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog")
    assert message in shown


def test_training_images_with_fewer_than_two_classes_are_refused_although_the_held_out_ones_have_more(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(36):
        cv2.imwrite(str(data / f"labels/{index:03d}.png"), np.full((24, 40), 1, np.uint8))
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog")
    assert "training images with fewer than two classes: got sky alone" in shown


def test_images_without_a_labelled_pixel_are_left_out_and_counted(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(10):
        cv2.imwrite(str(data / f"labels/{index:03d}.png"), np.full((24, 40), 255, np.uint8))
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "2")
    shown = capsys.readouterr().out
    assert "trained with 27 images. mIoU on 3 held-out images" in shown
    assert "Skipped (10): 000.png, 001.png" in shown
    navigator = Bundle.open(pristine_bundle).load_navigator()
    rgb = [cv2.imread(str(data / f"images/{index:03d}.png"))[..., ::-1] for index in range(10, 37)]
    centroid = np.mean([navigator.embed(np.ascontiguousarray(each)) for each in rgb], axis=0)
    assert np.allclose(AdapterFolder(out).statistics.centroid, centroid, rtol=1e-4)


def test_an_existing_adapter_is_kept_unless_told_otherwise(
    data: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = bundle / ADAPTERS / "red"
    before = contents(out)
    assert "the adapter exists already" in refused(capsys, data, bundle, out)
    assert contents(out) == before
    train(data, bundle, out, "--overwrite", "--steps", "2")
    assert contents(out) != before
    assert LibraryFolder(bundle / ADAPTERS).names == ("blue", "green", "red")
    (kept,) = (bundle / ADAPTERS / ".removed").glob("*/red")
    assert contents(kept) == before


@pytest.mark.parametrize("out", ["/", ".hidden", ".."])
def test_a_name_that_no_adapter_can_have_is_refused(
    data: Path, pristine_bundle: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    shown = refused(capsys, data, pristine_bundle, Path(out))
    assert f"not the name of a folder (-o): got {out}, expected a folder and a name in it" in shown


def test_a_missing_bundle_is_refused(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = refused(capsys, data, tmp_path / "no", tmp_path / "fog")
    assert "no model bundle" in shown
    assert "streetworld" in shown
    assert not (tmp_path / "fog").exists()


def test_an_output_that_cannot_be_written_is_refused_before_the_training(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter_module, "fit_adapter", interrupt)
    (tmp_path / "file").touch()
    shown = refused(capsys, data, pristine_bundle, tmp_path / "file/fog")
    assert "adapter cannot be written" in shown
    assert "Not a directory" in shown


def test_a_read_only_library_is_refused_before_the_training(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mkdir = Path.mkdir

    def read_only(path: Path, *args: Any, **options: Any) -> None:
        if ".fog.training" in path.name:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        mkdir(path, *args, **options)

    monkeypatch.setattr(adapter_module, "fit_adapter", interrupt)
    monkeypatch.setattr(Path, "mkdir", read_only)
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog")
    assert "adapter cannot be written" in shown
    assert "Read-only file system" in shown


def test_a_disk_that_is_full_at_the_end_loses_nothing(
    data: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = bundle / ADAPTERS / "red"
    before = contents(out)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(adapter_module, "save_adapter", full)
        shown = refused(capsys, data, bundle, out, "--overwrite")
    assert "No space left on device" in shown
    assert ".red.training" in shown
    assert contents(out) == before
    steps: list[object] = []
    monkeypatch.setattr("semla_ros.training.loop.ProgressBar", counting(steps))
    train(data, bundle, out, "--overwrite")
    assert steps == []  # the training itself was finished
    assert contents(out) != before


def counting(steps: list[object]) -> Any:
    """A progress bar that remembers the steps of a training."""

    class Bar(list[Any]):
        def __init__(self, iterable: Any, **_: object) -> None:
            super().__init__(iterable)
            steps.extend(self)

        def set_postfix_str(self, *_: object, **__: object) -> None:
            pass

    return Bar


def test_a_library_leaves_a_training_that_is_under_way_out(
    data: Path, pipeline: SemlaPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(adapter_module, "fit_adapter", interrupt)
        assert main(command(data, pipeline.bundle.path, pipeline.bundle.path / ADAPTERS / "fog")) == 130
    assert (pipeline.bundle.path / ADAPTERS / ".fog.training").is_dir()
    pipeline.reload_library()
    assert pipeline.library.rejected == []
    assert pipeline.library.names == ("blue", "green", "red")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "huge"), "no such preset (--preset): got huge, expected small or "),
        (("--rank", "40", "--method", "recyclelora"), "rank too large for a layer"),
        (("--device", "cuda"), "no CUDA device"),
        (("--sub-rank", "3"), "--sub-rank has no effect on the method lora"),
        (("--rank", "3", "--method", "full"), "--rank has no effect on the method full"),
        (("--preset", "small_full"), "preset for another method (--preset): got small_full with the method lora"),
        (("--sub-rank", "8", "--method", "recyclelora"), "--sub-rank): got 8, expected less than 8"),
    ],
)
def test_settings_that_make_no_training_are_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: Any, message: str
) -> None:
    if torch.cuda.is_available() and "cuda" in options:
        pytest.skip("there is a CUDA device")
    assert message in refused(capsys, data, pristine_bundle, tmp_path / "fog", *options, "--steps", "2")
    assert not (tmp_path / "fog").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--export-rank", "8"), "--export-rank too large: got 8, expected less than the adapter's rank, 8"),
        (
            ("--export-rank", "8", "--method", "recyclelora", "--rank", "4"),
            "--export-rank too large: got 8, expected less than the adapter's rank, 8",
        ),
        (("--export-rank", "4", "--method", "full"), "--export-rank needs a LoRA: got a weight difference"),
    ],
)
def test_a_rank_that_the_adapter_cannot_be_reduced_to_is_refused_before_the_training(
    data: Path,
    pristine_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setattr(adapter_module, "fit_adapter", interrupt)
    assert message in refused(capsys, data, pristine_bundle, tmp_path / "library/fog", *options)
    assert not (tmp_path / "library").exists()


def test_a_finished_training_can_be_stored_with_another_rank(
    data: Path, pristine_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as interrupted:
        interrupted.setattr(adapter_module, "_statistics", interrupt)
        assert main(command(data, pristine_bundle, tmp_path / "fog", "--steps", "2", "--export-rank", "4")) == 130
    out = train(data, pristine_bundle, tmp_path / "fog", "--steps", "2", "--export-rank", "3")
    assert AdapterFolder(out).rank == 3


def test_images_that_are_all_damaged_are_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (data / "images").iterdir():
        file.write_bytes(b"cut")
    assert "no image to train with" in refused(capsys, data, pristine_bundle, tmp_path / "fog")


def test_a_training_that_diverges_is_stopped(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = refused(capsys, data, pristine_bundle, tmp_path / "fog", "--lr", "1e30")
    assert "training diverged" in shown
    assert "smaller --lr" in shown
    assert not (tmp_path / "fog").exists()


def test_a_second_training_of_the_same_adapter_is_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = AdapterPlace(tmp_path / "fog")
    first.claim({})
    assert "another training of this adapter is under way" in refused(capsys, data, pristine_bundle, tmp_path / "fog")


def test_the_method_is_kept_where_peft_does_not_mind_it(data: Path, pristine_bundle: Path, tmp_path: Path) -> None:
    for method in ("lora", "recyclelora", "full"):
        out = train(data, pristine_bundle, tmp_path / method, "--method", method, "--steps", "2")
        assert AdapterFolder(out).method == method
        config = out / "adapter_config.json"
        assert config.exists() is (method != "full")
        assert method == "full" or "method" not in config.read_text()


def test_a_list_of_classes_with_a_name_twice_is_refused(
    data: Path, pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.txt").write_text("road\nroad\n")
    options = "--classes", str(tmp_path / "classes.txt")
    assert "no list of classes" in refused(capsys, data, pristine_bundle, tmp_path / "fog", *options)


@pytest.mark.slow
def test_two_processes_train_the_same_adapter_as_one(data: Path, pristine_bundle: Path, tmp_path: Path) -> None:
    train(data, pristine_bundle, tmp_path / "one/fog", "--steps", "4")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_ip", "127.0.0.1", "--main_process_port", "0", "-m", "semla_ros.cli"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = command(data, pristine_bundle, tmp_path / "two/fog", "--steps", "4")
    done = subprocess.run([*launch, *argv], env=environment, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained with 36 images") == 1
    one, two = (AdapterFolder(tmp_path / name / "fog").load().factors for name in ("one", "two"))
    for name, (down, up) in one.items():
        assert torch.allclose(two[name][1] @ two[name][0], up @ down, atol=1e-3), name
    assert max(float((up @ down).abs().max()) for down, up in one.values()) > 1e-2
