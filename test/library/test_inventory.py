from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_adapter, random_network, save_unlisted

from semla_ros.adaptation.statistics import Statistics
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, statistics_file
from semla_ros.library.base_model import BaseModel
from semla_ros.library.bundle import Bundle
from semla_ros.library.inventory import inventory, neighbours
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.modeling.lora import Adapter

NETWORK = random_network()


@pytest.fixture(scope="module")
def base(pristine_bundle: Path) -> BaseModel:
    return BaseModel.of(Bundle.open(pristine_bundle))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for position, name in ((0.0, "near"), (1.0, "nearer"), (9.0, "far")):
        embeddings = np.full(8, position) + np.random.default_rng(0).normal(0, 0.1, (30, 8))
        save_unlisted(random_adapter(name, NETWORK), Statistics.of(embeddings), tmp_path)
    return tmp_path


def test_an_adapter_is_listed_with_its_size_images_and_nearest_neighbour(folder: Path, base: BaseModel) -> None:
    far, near, nearer = inventory(LibraryFolder(folder).paths, base)
    assert (far.name, far.rank, far.method, far.images) == ("far", 2, "lora", 30)
    assert far.size == sum((folder / "far" / name).stat().st_size for name in (CONFIG, WEIGHTS))
    assert far.mean_distance == pytest.approx(0.28, abs=0.05)
    assert (far.neighbour, far.neighbour_distance) == ("nearer", pytest.approx(8 * 8**0.5, rel=1e-3))
    assert (near.neighbour, nearer.neighbour) == ("nearer", "near")
    assert (far.layers, far.share, far.errors) == (len(base.acting), 1.0, ())


def test_layers_that_do_not_act_do_not_count(folder: Path, base: BaseModel) -> None:
    idle = next(iter(base.layers.keys() - base.acting.keys()))
    whole = random_adapter("few", NETWORK)
    name, pair = next(iter(whole.factors.items()))
    width = base.layers[idle].in_features
    factors = {name: pair, idle: (pair[0].new_ones(2, width), pair[1].new_ones(base.layers[idle].out_features, 2))}
    save_unlisted(Adapter("few", factors, 1.0), Statistics.of(np.zeros((2, 8))), folder)
    few = next(each for each in inventory(LibraryFolder(folder).paths, base) if each.name == "few")
    assert (few.layers, few.share) == (1, 1 / len(base.acting))


def test_without_a_base_model_the_share_is_unknown(folder: Path) -> None:
    assert [(each.layers, each.share) for each in inventory(LibraryFolder(folder).paths)] == 3 * [
        (len(NETWORK.adapted_layers()), None)
    ]


def test_the_method_of_training_is_listed(folder: Path) -> None:
    save_unlisted(random_adapter("far", NETWORK), Statistics.of(np.ones((3, 8))), folder, method="recyclelora")
    assert [each.method for each in inventory(LibraryFolder(folder).paths)] == ["recyclelora", "lora", "lora"]


def test_a_fully_fine_tuned_adapter_has_no_rank(folder: Path, base: BaseModel) -> None:
    name = next(iter(base.acting))
    difference = {f"{name}.weight": torch.ones_like(base.acting[name].weight), "clip.class_embedding": torch.ones(16)}
    parameters = {key: value for key, value in difference.items() if key in base.parameters}
    save_unlisted(Adapter("whole", {}, 1.0, parameters), Statistics.of(np.ones((3, 8))), folder)
    whole = next(each for each in inventory(LibraryFolder(folder).paths, base) if each.name == "whole")
    assert (whole.rank, whole.method, whole.layers, whole.images) == (None, "full", 1, 3)


def test_damaged_adapters_are_listed_with_the_reason(folder: Path, base: BaseModel) -> None:
    (folder / "near" / WEIGHTS).write_bytes(b"cut")
    statistics_file(folder / "nearer").unlink()
    far, near, nearer = inventory(LibraryFolder(folder).paths, base)
    assert (near.rank, near.images, near.neighbour) == (None, 30, "far")
    assert "unreadable adapter" in near.errors[0]
    assert (nearer.rank, nearer.images, nearer.neighbour) == (2, None, None)
    assert "unreadable statistics" in nearer.errors[0]
    assert far.errors == ()


def test_official_statistics_leave_images_and_mean_distance_unknown(folder: Path) -> None:
    np.savez(statistics_file(folder / "far"), train_average_embedding=np.zeros((1, 8)))
    far = inventory(LibraryFolder(folder).paths)[0]
    assert (far.images, far.mean_distance, far.neighbour) == (None, None, "near")


def test_an_adapter_alone_has_no_neighbour(folder: Path) -> None:
    assert replace(inventory([folder / "far"])[0]).neighbour is None


def test_neighbours_are_of_the_same_dimension_and_never_the_adapter_itself() -> None:
    centroids = {"a": np.zeros(3), "b": np.zeros(3), "c": np.ones(3), "other": np.zeros(4)}
    assert neighbours(centroids) == {"a": ("b", 0.0), "b": ("a", 0.0), "c": ("a", pytest.approx(3**0.5))}
