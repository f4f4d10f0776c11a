from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import ARCH

import semla_ros
from semla_ros.errors import TrainingError
from semla_ros.library.bundle import Bundle
from semla_ros.library.captions import CAPTIONS, CaptionTable
from semla_ros.streetworld.dataset import sample, write_dataset
from semla_ros.training.schedule import Schedule
from semla_ros.training.world import Recipe, train_world

BUNDLED = Path(__file__).parents[2] / "models/streetworld"
DOMAINS = ("clear_day", "corridor")
ADAPTER_WEIGHTS = "adapters/corridor/adapter_model.safetensors"
SHORT = Schedule(steps=2, batch=2, lr=1e-3, warmup=1)
RECIPE = Recipe(
    base_images=3, domain_images=3, caption_images=2, domains=DOMAINS, arch=replace(ARCH, upsampling=2),
    clip=SHORT, segmenter=SHORT, adapter=SHORT, captions=SHORT,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``work`` and the bundle ``out`` of a training with two domains."""
    folder = tmp_path_factory.mktemp("world")
    train_world(folder / "work", folder / "out", RECIPE)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_command_writes_every_file_of_the_bundled_model(world: Path) -> None:
    bundled = {name for name in contents(BUNDLED) if "adapters" not in name or any(f"/{d}/" in name for d in DOMAINS)}
    assert set(contents(world / "out")) == bundled


def test_statistics_have_the_entries_of_the_bundled_ones(world: Path) -> None:
    file = "adapters/corridor/corridor_statistics.npz"
    with np.load(world / "out" / file) as ours, np.load(BUNDLED / file) as bundled:
        assert set(ours) == set(bundled)


def test_the_bundle_segments_and_its_captions_describe_its_adapters(world: Path) -> None:
    pipeline = semla_ros.load(str(world / "out"))
    assert pipeline.library.names == DOMAINS
    rgb = sample("corridor", 0, 5, (48, 64)).rgb
    assert pipeline.segment(rgb)[0].shape == (48, 64)
    table = CaptionTable.load(world / "out" / CAPTIONS)
    captions = [table.describe(each.centroid).caption for each in pipeline.library.statistics]
    assert all(each in table.captions for each in captions)


def test_a_finished_training_writes_the_same_bundle_when_it_is_run_again(world: Path) -> None:
    before = contents(world / "out")
    train_world(world / "work", world / "again" / "out", RECIPE)
    assert contents(world / "again" / "out") == before


def test_further_samples_in_a_data_set_do_not_change_the_result(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "work/train", tmp_path / "work/train")
    write_dataset(tmp_path / "work/train/corridor", "corridor", 4, RECIPE.seed)
    train_world(tmp_path / "work", tmp_path / "out", RECIPE)
    weights = ADAPTER_WEIGHTS, "navigator.safetensors", "segmenter.safetensors"
    assert [(tmp_path / "out" / name).read_bytes() for name in weights] == [
        (world / "out" / name).read_bytes() for name in weights
    ]


def test_a_work_folder_is_not_continued_with_another_recipe(world: Path, tmp_path: Path) -> None:
    other = replace(RECIPE, segmenter=replace(SHORT, steps=3), balance=0.0)
    with pytest.raises(TrainingError, match=r"with other settings.*got segmenter\.steps 2, balance 0\.5, expected"):
        train_world(world / "work", tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_a_work_folder_without_settings_is_continued_and_gets_them(world: Path, tmp_path: Path) -> None:
    settings = (world / "work/settings.json").read_text()
    (world / "work/settings.json").unlink()
    train_world(world / "work", tmp_path / "out", RECIPE)
    assert (world / "work/settings.json").read_text() == settings


def test_the_card_says_which_loss_was_trained_with(world: Path) -> None:
    card = " ".join((world / "out/README.md").read_text().split())
    assert "(T f)^-0.5 times, plus 0.2 times the cross-entropy of the patches for the other stages" in card


def test_the_bundled_model_has_the_architecture_of_the_recipe() -> None:
    assert Bundle.open(BUNDLED).segmenter == Recipe().arch
