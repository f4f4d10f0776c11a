from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import ARCH

import semla_ros
from semla_ros.cli.train import world as command
from semla_ros.library.captions import CAPTIONS, CaptionTable
from semla_ros.streetworld.dataset import sample
from semla_ros.training.schedule import Schedule
from semla_ros.training.world import RECIPES, Recipe, train_world

BUNDLED = Path(__file__).parents[2] / "models/streetworld"
DOMAINS = ("clear_day", "corridor")
SHORT = Schedule(steps=2, batch=2, lr=1e-3, warmup=1)
RECIPE = Recipe(
    base_images=3, domain_images=3, caption_images=2, domains=DOMAINS, arch=replace(ARCH, upsampling=2),
    clip=SHORT, segmenter=SHORT, adapter=SHORT, captions=SHORT, balance=0.5,
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


def test_the_command_offers_every_recipe() -> None:
    assert tuple(RECIPES) == command.RECIPES
