from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import random_adapter, random_network

from semla_ros.adaptation.retrieval import Mixture, retrieve
from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import WEIGHTS, save_adapter
from semla_ros.library.adapter_library import AdapterLibrary

NETWORK = random_network()
LAYERS = NETWORK.adapted_layers()
NAMES = "clear", "fog", "rain", "snow"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(NAMES):
        embeddings = np.random.default_rng(seed).normal(3 * seed, 1.0, (40, 8))
        save_adapter(random_adapter(name, NETWORK, seed=seed), Statistics.of(embeddings), tmp_path)
    return tmp_path


def opened(folder: Path, memory_mib: int = 512, exclude: tuple[str, ...] = ()) -> AdapterLibrary:
    return AdapterLibrary(folder, LAYERS, 8, memory_mib, exclude)


def test_adapters_are_listed_by_name_with_their_centroids(folder: Path) -> None:
    library = opened(folder)
    assert library.names == NAMES
    assert library.rejected == []
    assert library.centroids.shape == (4, 8)
    assert (library.centroids_of(["snow", "clear"]) == library.centroids[[3, 0]]).all()


def test_retrieval_is_the_policy_over_the_centroids(folder: Path) -> None:
    library, embedding = opened(folder), np.full(8, 2.5)
    found = library.retrieve(embedding, 2, 0.05)
    assert found == retrieve(embedding, NAMES, library.centroids, 2, 0.05)
    assert found.names == ("fog", "clear")


def test_excluded_adapters_are_not_even_opened(folder: Path) -> None:
    (folder / "fog" / WEIGHTS).unlink()
    library = opened(folder, exclude=("fog",))
    assert library.names == ("clear", "rain", "snow")
    assert library.rejected == []


def test_an_unfit_adapter_is_left_out_and_told_while_the_others_serve(folder: Path) -> None:
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    library = opened(folder)
    assert library.names == ("clear", "rain", "snow")
    assert [str(folder / "fog" / WEIGHTS) in str(error) for error in library.rejected] == [True]
    assert library.load("rain").name == "rain"


def test_the_odd_centroid_is_left_out_even_if_it_comes_first(folder: Path) -> None:
    save_adapter(random_adapter("aurora", NETWORK), Statistics(np.zeros(9)), folder)
    library = opened(folder)
    assert library.names == NAMES
    assert "got dimension 9, expected 8" in str(library.rejected[0])


def test_a_library_of_unfit_adapters_alone_is_refused_with_the_first_reason(folder: Path) -> None:
    for name in NAMES:
        (folder / name / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match="clear"):
        opened(folder)


def test_a_missing_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"no adapter library.*nowhere"):
        opened(tmp_path / "nowhere")


def test_an_empty_library_retrieves_nothing_and_knows_nothing(tmp_path: Path) -> None:
    library = opened(tmp_path)
    assert library.retrieve(np.zeros(8), 5, 0.05) == Mixture()
    assert not library.is_in_distribution(np.zeros(8))
    assert library.centroids_of(()).shape == (0, 8)


def test_files_beside_the_adapters_do_not_matter(folder: Path) -> None:
    (folder / "README.md").touch()
    assert opened(folder).names == NAMES


def test_an_adapter_is_read_once(folder: Path) -> None:
    library = opened(folder)
    first = library.load("fog")
    shutil.rmtree(folder / "fog")
    assert library.load("fog") is first


def test_the_least_recently_used_go_when_the_budget_is_spent(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        adapter = random_adapter(name, NETWORK, rank=50)
        save_adapter(adapter, Statistics(np.zeros(8)), tmp_path)
    assert 2 * adapter.nbytes < 2**20 < 3 * adapter.nbytes
    library = opened(tmp_path, memory_mib=1)
    a, b = library.load("a"), library.load("b")
    assert library.load("a") is a
    library.load("c")
    assert library.load("a") is a
    assert library.load("b") is not b


def test_one_adapter_stays_however_small_the_budget(tmp_path: Path) -> None:
    adapter = random_adapter("large", NETWORK, rank=128)
    assert adapter.nbytes > 2**20
    save_adapter(adapter, Statistics(np.zeros(8)), tmp_path)
    library = opened(tmp_path, memory_mib=1)
    assert library.load("large") is library.load("large")


def test_a_library_knows_what_its_training_images_reach(folder: Path) -> None:
    library = opened(folder)
    assert all(library.is_in_distribution(centroid) for centroid in library.centroids)
    assert library.is_in_distribution(library.centroids[1] + 0.5)
    assert not library.is_in_distribution(library.centroids[1] - [9, -9, 9, -9, 9, -9, 9, -9])


def test_adapters_that_do_not_tell_their_reach_count_as_known(tmp_path: Path) -> None:
    save_adapter(random_adapter("a", NETWORK), Statistics(np.zeros(8)), tmp_path)
    assert opened(tmp_path).is_in_distribution(np.full(8, 1e6))


def test_loading_an_adapter_gone_bad_is_refused_and_the_others_stay(folder: Path) -> None:
    library = opened(folder)
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    with pytest.raises(AdapterError, match=r"unreadable adapter.*fog"):
        library.load("fog")
    assert torch.isfinite(library.load("rain").factors["aggregator.layers.0.attention.MLP.0"][0]).all()


def test_a_prefetched_adapter_is_at_hand_without_its_file(folder: Path) -> None:
    library = opened(folder)
    library.prefetch(["fog", "rain"])
    library._reader.submit(lambda: None).result()
    shutil.rmtree(folder)
    assert library.load("rain").name == "rain"
    assert library.load("fog").name == "fog"


def test_a_prefetch_that_fails_is_told_by_load(folder: Path) -> None:
    library = opened(folder)
    (folder / "fog" / WEIGHTS).write_bytes(b"cut")
    library.prefetch(["fog"])
    with pytest.raises(AdapterError, match=r"unreadable adapter.*fog"):
        library.load("fog")


def test_an_adapter_in_memory_does_not_hang_on_its_file(tmp_path: Path) -> None:
    save_adapter(random_adapter("a", NETWORK), Statistics(np.zeros(8)), tmp_path, torch.float32)
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
