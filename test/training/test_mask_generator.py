"""Training of a mask generator: its loss, and the smallest run of the command, interrupted and continued."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import Mask2FormerForUniversalSegmentation

from semla_ros.cli import main
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.dataset import write_dataset
from semla_ros.training.checkpoint import Checkpoint
from semla_ros.training.images import Images
from semla_ros.training.mask_generator import LABEL_SIZE, SIZE, MaskLoss, pixels, segments, small_config

THINGS = (False, True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panoptic data set of two images."""
    folder = tmp_path_factory.mktemp("clear_day")
    write_dataset(folder, "clear_day", 2, 1, (120, 192), "coco")
    return folder


def train(data: Path, out: Path, *options: str) -> int:
    argv = ["train", "masks", str(data / "images"), str(data / "panoptic.json"), "-o", str(out)]
    return main([*argv, "--steps", "4", "--batch", "1", *options])


def test_a_trained_generator_is_read_by_transformers(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path / "masks") == 0
    model = Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "masks").eval()
    assert list(model.config.id2label.values()) == list(CLASSES)
    with torch.no_grad():
        out = model(pixels(torch.zeros(1, *SIZE, 3, dtype=torch.uint8)))
    assert out.masks_queries_logits.shape == (1, 50, SIZE[0] // 4, SIZE[1] // 4)
    with (tmp_path / "masks/training.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3"]
    averages = load_file(tmp_path / "masks/model.safetensors")
    assert averages["model.pixel_level_module.encoder.embedder.embedder.normalization.running_mean"].abs().sum() > 0


def test_a_short_training_has_a_short_warm_up(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path / "masks", "--steps", "2", "--lr", "0.02") == 0
    with (tmp_path / "masks/training.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["learning_rate"]) == pytest.approx(0.01)  # half the peak in the second of two steps, not 1/200


def test_an_interrupted_training_continues_to_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(data, tmp_path / "whole") == 0
    draw, drawn = Images.draw, list[object]()

    def interrupted(self: Images, *args: Any) -> Any:
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(args)
        return draw(self, *args)

    monkeypatch.setattr("semla_ros.training.loop.ROW", 1)
    monkeypatch.setattr(Checkpoint, "save_periodically", Checkpoint.save)
    monkeypatch.setattr(Images, "draw", interrupted)
    assert train(data, tmp_path / "resumed") == 130
    assert not (tmp_path / "resumed").exists()
    monkeypatch.setattr(Images, "draw", draw)
    assert train(data, tmp_path / "resumed") == 0
    expected, found = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed"))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert len({file.stat().st_mode for file in (tmp_path / "whole").iterdir()}) == 1  # readable by the same users


def test_a_folder_that_exists_is_left_as_it_is(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/masks.csv").write_text("mine")
    assert train(data, tmp_path / "masks") == 1
    assert "the mask generator exists already" in capsys.readouterr().err
    assert (tmp_path / "masks/masks.csv").read_text() == "mine"


@pytest.mark.parametrize("other", [("--seed", "1"), ("--lr", "0.001")], ids=" ".join)
def test_an_unfinished_training_with_other_settings_is_not_continued(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: tuple[str, ...],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Images, "draw", interrupted)
    assert train(data, tmp_path / "masks") == 130
    (tmp_path / ".masks.training/masks.pt").touch()  # as if it had been interrupted later
    assert train(data, tmp_path / "masks", *other) == 1
    assert "training with other settings" in capsys.readouterr().err


def test_a_data_set_that_is_not_panoptic_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, tmp_path / "masks") == 1
    assert "annotations cannot be read" in capsys.readouterr().err


def test_segments_are_instances_of_things_and_whole_stuff_without_crowds_and_unlabelled_pixels() -> None:
    masks, classes = segments(torch.tensor([[0, 0, 1, 1 + 256], [255, 1 + 512, 1 + 512, 0]]), THINGS)
    assert classes.tolist() == [0, 1, 1]
    assert masks.tolist() == [
        [[1, 1, 0, 0], [0, 0, 0, 1]], [[0, 0, 0, 1], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 1, 1, 0]],
    ]  # fmt: skip


def test_the_loss_falls_on_images_that_are_seen_again() -> None:
    torch.manual_seed(0)
    loss = MaskLoss(Mask2FormerForUniversalSegmentation(small_config(("road", "car"))), THINGS).train()
    images = torch.zeros(1, *SIZE, 3, dtype=torch.uint8)
    labels = torch.zeros(1, *LABEL_SIZE, dtype=torch.int64)
    images[:, :, 160:], labels[:, :, 80:] = 255, 1 + 256
    optimizer = torch.optim.AdamW(loss.parameters(), 1e-3)
    values = []
    for _ in range(4):
        value = loss(images, labels, torch.tensor(0))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


def test_the_generator_is_small() -> None:
    model = Mask2FormerForUniversalSegmentation(small_config(CLASSES))
    assert 3e6 < sum(parameter.numel() for parameter in model.parameters()) < 6e6


class Single(list[LabelledImage]):
    """A data set of one image."""

    name = "single"

    def __init__(self, item: LabelledImage) -> None:
        super().__init__([item])


def test_instances_beyond_255_are_unlabelled() -> None:
    instances = np.array([[0, 255, 256]], np.uint16)
    item = LabelledImage(np.zeros((1, 3, 3), np.uint8), np.array([[3, 11, 11]], np.uint8), instances)
    read = Images.read(Single(item), (1, 3), (1, 3), with_instances=True)
    assert read.labels.tolist() == [[[3, 11 + 256 * 255, 255]]]
