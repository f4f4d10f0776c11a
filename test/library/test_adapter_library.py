from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_adapter, random_network, save_unlisted
from torch import nn

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.metrics import METRICS, Metric
from semla_ros.adaptation.retrieval import Mixture, retrieve
from semla_ros.adaptation.statistics import Statistics
from semla_ros.adaptation.thresholds import UPPER_MEAN_DISTANCES, Thresholds
from semla_ros.errors import AdapterError, BundleError
from semla_ros.images.texture import TEXTURE_DIM
from semla_ros.library import adapter_library
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from semla_ros.library.adapter_library import AdapterLibrary

NETWORK = random_network()
LAYERS = NETWORK.adapted_layers()
NAMES = "clear", "fog", "rain", "snow"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        embeddings = np.random.default_rng(seed).normal(3 * seed, 1.0, (40, 8))
        save_unlisted(random_adapter(name, NETWORK, seed=seed), Statistics.of(embeddings), tmp_path)
    return tmp_path


def opened(folder: Path, exclude: tuple[str, ...] = (), metric: str = "euclidean") -> AdapterLibrary:
    return AdapterLibrary(folder, LAYERS, 8, exclude=exclude, metric=metric)


def write_statistics(folder: Path, name: str, **arrays: object) -> None:
    """Replaces the statistics of an adapter: a centroid of its own and these arrays."""
    arrays = {"train_average_embedding": np.full((1, 8), float(NAMES.index(name)))} | arrays
    np.savez(folder / name / f"{name}_statistics.npz", **arrays)


def test_adapters_are_listed_by_name_with_their_centroids(folder: Path) -> None:
    library = opened(folder)
    assert library.names == NAMES
    assert library.rejected == []
    assert library.centroids.shape == (4, 8)
    assert (library.index_of(["snow", "clear"]).centroids == library.centroids[[3, 0]]).all()


def test_a_library_retrieves_the_nearest_of_its_adapters(folder: Path) -> None:
    library, embedding = opened(folder), np.full(8, 2.5)
    found = library.retrieve(embedding, 2, 0.05)
    assert found == retrieve(embedding, NAMES, library.centroids, 2, 0.05)
    assert found.names == ("fog", "clear")


def test_a_retrieval_can_leave_adapters_out(folder: Path) -> None:
    found = opened(folder).retrieve(np.full(8, 2.5), 2, 0.05, exclude=("fog",))
    assert found == opened(folder, exclude=("fog",)).retrieve(np.full(8, 2.5), 2, 0.05)
    assert found.names == ("clear", "rain")


@pytest.mark.parametrize("name", sorted(METRICS))
def test_retrieval_comparison_and_thresholds_use_the_metric_of_the_library(folder: Path, name: str) -> None:
    for adapter, direction in zip(NAMES, np.eye(8)[:4], strict=True):
        embeddings = 5 * direction + np.random.default_rng(1).normal(0, 0.2, (600, 8))
        save_unlisted(random_adapter(adapter, NETWORK), Statistics.of(embeddings), folder)
    library, metric = opened(folder, metric=name), METRICS[name]
    embedding = 3 * np.eye(8)[2]
    found = library.retrieve(embedding, 4, 0.05)
    assert found.names[0] == "rain"
    assert found.distances == pytest.approx([library.index_of([n]).distances(embedding).item() for n in found.names])
    assert library.index.metric is metric
    assert library.thresholds == Thresholds.of(library.index, [s.mean_distance(metric) for s in library.statistics])


def test_a_new_metric_is_one_function_and_one_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manhattan = Metric("manhattan", lambda embedding, centroids, _: np.abs(centroids - embedding).sum(1))
    monkeypatch.setitem(METRICS, "manhattan", manhattan)
    embeddings = np.random.default_rng(1).normal(3.0, 1.0, (40, 8))
    save_unlisted(random_adapter("fog", NETWORK), Statistics.of(embeddings), folder)
    library = opened(folder, metric="manhattan")
    found = library.retrieve(np.full(8, 2.5), 1, 0.05)
    assert (found.names, found.distances) == (("fog",), (np.abs(library.centroids[1] - 2.5).sum(),))
    assert library.index.distance(np.zeros(8), np.ones(8)) == 8.0
    mean = np.abs(embeddings - embeddings.mean(0)).sum(1).mean()
    assert library.statistics[1].mean_distance(manhattan) == pytest.approx(mean, rel=1e-6)
    assert library.thresholds.upper_threshold == pytest.approx(UPPER_MEAN_DISTANCES * mean, rel=1e-6)


def test_mahalanobis_leaves_out_adapters_without_a_covariance_of_500_images(folder: Path) -> None:
    write_statistics(folder, "clear", covariance=np.eye(8), count=499)  # the form of older files
    write_statistics(folder, "fog")
    write_statistics(folder, "rain", covariance=np.eye(8), count=500)
    write_statistics(folder, "snow", covariance=np.eye(8))
    library = opened(folder, metric="mahalanobis")
    assert library.names == ("rain", "snow")
    reasons = [str(error) for error in library.rejected]
    assert "clear): got 499 training images, expected a covariance of at least 500 images" in reasons[0]
    assert "fog): got no covariance" in reasons[1]
    assert opened(folder).names == NAMES


def test_an_unknown_metric_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"unknown distance metric.*manhattan"):
        opened(folder, metric="manhattan")


def test_an_excluded_name_that_does_not_exist_and_a_library_without_adapters_are_warned_about(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(folder, exclude=(*(path.name for path in folder.iterdir()), "nix"))
    assert "library.exclude names no adapter of" in caplog.text
    assert ": nix" in caplog.text
    assert "the base model segments all images" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        {"target_modules": 7},
        {"lora_alpha": 10**400},
        {"r": True},
        {"modules_to_save": ["head"]},
        {"peft_type": None},
    ],
    ids=str,
)
def test_one_adapter_with_an_impossible_configuration_does_not_stop_the_others(
    folder: Path, damage: dict[str, object]
) -> None:
    file = folder / "fog" / CONFIG
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    library = opened(folder)
    assert library.names == ("clear", "rain", "snow")
    assert [str(file) in str(error) for error in library.rejected] == [True]


@pytest.mark.parametrize("error", [RuntimeError, RecursionError, MemoryError, OverflowError, AssertionError])
def test_whatever_error_opening_an_adapter_raises_it_is_left_out_and_listed(
    folder: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = AdapterFolder.check

    def fail_for_fog(adapter: AdapterFolder, layers: Mapping[str, nn.Linear], parameters: object) -> None:
        if adapter.name == "fog":
            raise error("surprise" * 1000)
        check(adapter, layers)

    monkeypatch.setattr(AdapterFolder, "check", fail_for_fog)
    library = opened(folder)
    assert library.names == ("clear", "rain", "snow")
    assert [type(rejected) for rejected in library.rejected] == [AdapterError]
    assert str(library.rejected[0]).startswith(f"unusable adapter ({folder / 'fog'}): got {error.__name__}")
    assert len(str(library.rejected[0])) < 500


def test_a_folder_that_may_not_be_listed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> list[Path]:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(AdapterError, match=r"unreadable adapter library.*not yours"):
        opened(folder)


def test_an_adapter_that_is_left_out_is_logged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(adapter_library.LOG, "warning", lambda text, *values: logged.append(text % values))
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    assert logged == [f"adapter left out: {error}" for error in opened(folder).rejected]
    assert len(logged) == 1


def test_adapters_in_memory_keep_within_the_budget(folder: Path) -> None:
    for name in NAMES:
        save_unlisted(random_adapter(name, NETWORK, rank=50), Statistics(np.zeros(8)), folder)
    library = AdapterLibrary(folder, LAYERS, 8, memory_mib=1)
    adapters = [library.load(name) for name in NAMES]
    assert 2 * adapters[0].nbytes < 2**20 < 3 * adapters[0].nbytes
    assert library.loaded == ("rain", "snow")


def test_a_prefetched_adapter_is_in_memory(folder: Path) -> None:
    library = opened(folder)
    library.prefetch(["fog"])
    end = time.monotonic() + 60
    while library.loaded != ("fog",):
        assert time.monotonic() < end, "waited 60 s for the adapter to be in memory"
        time.sleep(0.001)


def test_excluded_adapters_are_not_opened(folder: Path) -> None:
    (folder / "fog" / WEIGHTS).unlink()
    library = opened(folder, exclude=("fog",))
    assert library.names == ("clear", "rain", "snow")
    assert library.rejected == []


def test_an_unusable_adapter_is_left_out_and_listed_and_the_others_are_used(folder: Path) -> None:
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    library = opened(folder)
    assert library.names == ("clear", "rain", "snow")
    assert [str(folder / "fog" / WEIGHTS) in str(error) for error in library.rejected] == [True]
    assert library.load("rain").name == "rain"


def test_an_adapter_of_another_navigator_is_left_out_even_if_it_comes_first(folder: Path) -> None:
    save_unlisted(random_adapter("aurora", NETWORK), Statistics(np.zeros(9)), folder)
    library = opened(folder)
    assert library.names == NAMES
    assert "got dimension 9, expected 8" in str(library.rejected[0])


def test_a_library_of_unusable_adapters_alone_is_refused_with_the_first_error(folder: Path) -> None:
    for name in NAMES:
        (folder / name / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match="clear"):
        opened(folder)


def test_a_missing_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"no adapter library.*nowhere"):
        opened(tmp_path / "nowhere")


def test_an_empty_library_retrieves_no_adapter_and_everything_is_out_of_distribution(tmp_path: Path) -> None:
    library = opened(tmp_path)
    assert library.retrieve(np.zeros(8), 5, 0.05) == Mixture()
    assert not library.is_in_distribution(np.zeros(8))
    assert library.index_of(()).centroids.shape == (0, 8)
    assert library.thresholds == (np.inf, np.inf)


def test_files_beside_the_adapters_are_ignored(folder: Path) -> None:
    (folder / "README.md").touch()
    assert opened(folder).names == NAMES


def test_embeddings_near_the_training_images_are_in_distribution_and_far_ones_are_not(folder: Path) -> None:
    library = opened(folder)
    assert all(library.is_in_distribution(centroid) for centroid in library.centroids)
    assert library.is_in_distribution(library.centroids[1] + 0.5)
    assert not library.is_in_distribution(library.centroids[1] - [9, -9, 9, -9, 9, -9, 9, -9])


def test_with_an_adapter_without_covariance_everything_is_in_distribution(tmp_path: Path) -> None:
    save_unlisted(random_adapter("a", NETWORK), Statistics(np.zeros(8)), tmp_path)
    assert opened(tmp_path).is_in_distribution(np.full(8, 1e6))


def test_a_look_at_a_large_library_measures_the_distance_to_the_nearest_adapters_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Statistics] = []

    def distance(statistics: Statistics, embedding: np.ndarray) -> float:
        measured.append(statistics)
        return np.inf

    monkeypatch.setattr(Statistics, "mahalanobis", distance)
    monkeypatch.setattr(adapter_library, "NEAREST", 2)
    library = opened(folder)
    embedding = library.centroids[2] + 0.1
    assert not library.is_in_distribution(embedding)
    order = np.argsort(np.linalg.norm(library.centroids - embedding, axis=1))
    assert measured == [library.statistics[row] for row in order[:2]]


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_the_answer_of_a_look_does_not_depend_on_the_metric_of_the_library(folder: Path, metric: str) -> None:
    for adapter, direction in zip(NAMES, np.eye(8)[:4], strict=True):
        embeddings = 5 * direction + np.random.default_rng(1).normal(0, 0.2, (600, 8))
        save_unlisted(random_adapter(adapter, NETWORK), Statistics.of(embeddings), folder)
    library = opened(folder, metric=metric)
    assert all(library.is_in_distribution(centroid) for centroid in library.centroids)
    assert not library.is_in_distribution(library.centroids.mean(0))


def test_a_thousand_adapters_of_768_dimensions_keep_less_than_100_mb_of_statistics() -> None:
    draw = np.random.default_rng(0)
    statistics = Statistics.of(draw.normal(size=(40, 768)), draw.normal(size=(40, TEXTURE_DIM)))
    index = CentroidIndex(statistics.centroid[None])
    assert 1000 * (statistics.nbytes + index.nbytes) < 100e6


def test_loading_an_adapter_that_was_damaged_since_is_refused_and_the_others_still_load(folder: Path) -> None:
    library = opened(folder)
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(AdapterError, match=r"unreadable adapter.*fog"):
        library.load("fog")
    assert torch.isfinite(library.load("rain").factors["aggregator.layers.0.attention.MLP.0"][0]).all()


def test_an_adapter_in_memory_does_not_depend_on_its_file(tmp_path: Path) -> None:
    save_unlisted(random_adapter("a", NETWORK), Statistics(np.zeros(8)), tmp_path, torch.float32)
    adapter = opened(tmp_path).load("a")
    before = {name: (down.clone(), up.clone()) for name, (down, up) in adapter.factors.items()}
    file = tmp_path / "a" / WEIGHTS
    file.write_bytes(bytes(len(file.read_bytes())))  # in place: a mapping would see it
    assert all(torch.equal(down, adapter.factors[n][0]) and torch.equal(up, adapter.factors[n][1])
               for n, (down, up) in before.items())  # fmt: skip


def test_adapters_are_kept_in_the_precision_they_are_fused_in(folder: Path) -> None:
    library = AdapterLibrary(folder, LAYERS, 8, dtype=torch.bfloat16)
    factors = library.load("fog").factors.values()
    assert {tensor.dtype for pair in factors for tensor in pair} == {torch.bfloat16}
