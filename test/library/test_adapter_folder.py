from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from adapter_files import change_config, change_weights
from safetensors.torch import load_file, save_file
from tiny import random_adapter, random_network, save_unlisted
from torch import nn

from semla_ros.adaptation.metrics import EUCLIDEAN
from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.images.texture import TEXTURE_DIM
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, check_statistics
from semla_ros.modeling.catseg.published import our_name
from semla_ros.modeling.lora import Adapter

NETWORK = random_network()
LAYERS = NETWORK.adapted_layers()
MODULE = "aggregator.layers.0.attention.MLP.0"
A, B = (f"base_model.model.{MODULE}.lora_{side}.weight" for side in "AB")
EMBEDDINGS = np.random.default_rng(0).normal(size=(50, 8))


@pytest.fixture
def adapter() -> Adapter:
    return random_adapter("fog", NETWORK)


@pytest.fixture
def folder(adapter: Adapter, tmp_path: Path) -> Path:
    save_unlisted(adapter, Statistics.of(EMBEDDINGS), tmp_path, torch.float32)
    return tmp_path / "fog"


def read_whole(folder: Path) -> None:
    """Reads all files of an adapter."""
    opened = AdapterFolder(folder)
    opened.load()
    assert opened.statistics.count


def test_what_is_saved_is_read_back(folder: Path, adapter: Adapter) -> None:
    read = AdapterFolder(folder)
    read.check(LAYERS)
    loaded = read.load()
    assert (loaded.name, loaded.scale) == ("fog", adapter.scale)
    assert loaded.factors.keys() == adapter.factors.keys()
    for name, (down, up) in loaded.factors.items():
        assert torch.equal(down, adapter.factors[name][0])
        assert torch.equal(up, adapter.factors[name][1])


def test_an_adapter_without_statistics_can_be_opened_and_its_weights_be_read(folder: Path) -> None:
    (folder / "fog_statistics.npz").unlink()
    opened = AdapterFolder(folder)
    assert opened.load().factors.keys() == LAYERS.keys()
    with pytest.raises(AdapterError, match=r"unreadable statistics \(.*fog_statistics.npz\).*semla library build"):
        read_whole(folder)


@pytest.mark.parametrize("length", [0, TEXTURE_DIM - 6, TEXTURE_DIM + 1])
def test_a_look_with_textures_of_another_length_is_refused(length: int, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    check_statistics(Statistics.of(EMBEDDINGS, draw.normal(size=(50, TEXTURE_DIM))), 8, EUCLIDEAN, tmp_path)
    other = Statistics.of(EMBEDDINGS, draw.normal(size=(50, length)))
    with pytest.raises(AdapterError, match=f"textures of another length .*got {length}, expected {TEXTURE_DIM}"):
        check_statistics(other, 8, EUCLIDEAN, tmp_path)


def test_half_precision_on_disk_is_single_precision_in_memory(adapter: Adapter, tmp_path: Path) -> None:
    save_unlisted(adapter, Statistics.of(EMBEDDINGS), tmp_path)
    down, up = AdapterFolder(tmp_path / "fog").load().factors[MODULE]
    assert down.dtype == up.dtype == torch.float32
    assert load_file(tmp_path / "fog" / WEIGHTS)[A].dtype == torch.float16
    assert torch.allclose(down, adapter.factors[MODULE][0], atol=1e-3)


def test_the_scale_is_alpha_divided_by_the_rank(folder: Path) -> None:
    change_config(folder, lora_alpha=16)
    assert AdapterFolder(folder).scale == 8.0
    change_config(folder, use_rslora=True)
    assert AdapterFolder(folder).scale == pytest.approx(16 / 2**0.5)


def test_official_module_names_are_mapped_to_the_segmenter_s(folder: Path) -> None:
    official = {"clip.": "sem_seg_head.predictor.clip_model.", "aggregator.": "sem_seg_head.predictor.transformer."}
    tensors = load_file(folder / WEIGHTS)
    for ours, theirs in official.items():
        tensors = {key.replace(f"model.{ours}", f"model.{theirs}", 1): value for key, value in tensors.items()}
    save_file(tensors, folder / WEIGHTS)
    change_config(folder, target_modules=None)
    read = AdapterFolder(folder, our_name)
    read.check(LAYERS)
    assert read.load().factors.keys() == LAYERS.keys()


def test_all_files_are_readable_by_those_who_may_read_new_files(folder: Path) -> None:
    (folder / "new").touch()
    assert {oct(file.stat().st_mode) for file in folder.iterdir()} == {oct((folder / "new").stat().st_mode)}


def test_a_folder_of_other_files_is_no_adapter(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(AdapterError, match=f"no adapter .*images.*expected a folder with {CONFIG}"):
        AdapterFolder(tmp_path / "images")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
def test_a_missing_file_is_refused_by_name(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"unreadable.*{name}"):
        read_whole(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str, left: int) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:left] if left >= 0 else file.read_bytes()[:-5])
    with pytest.raises(AdapterError, match=f"unreadable.*{name}"):
        read_whole(folder)


@pytest.mark.parametrize("key", [A, B])
def test_a_missing_matrix_is_refused_by_name(folder: Path, key: str) -> None:
    change_weights(folder, {key: None})
    with pytest.raises(AdapterError, match=f"lacks a matrix.*got nothing, expected {key}"):
        AdapterFolder(folder)


def test_a_pair_without_any_target_is_left_out_but_no_target_at_all_is_refused(folder: Path) -> None:
    change_config(folder, target_modules=["MLP.0"])
    read = AdapterFolder(folder)
    assert set(read.shapes) == {name for name in LAYERS if name.endswith(".MLP.0")}
    assert read.load().factors.keys() == read.shapes.keys()
    change_config(folder, target_modules=["nothing"])
    with pytest.raises(AdapterError, match="acts on no module"):
        AdapterFolder(folder)


@pytest.mark.parametrize(
    "stray",
    [
        ["base_model.model.x.bias"],
        ["base_model.model.x.bias", "base_model.model.y.weight"],
        ["base_model.model.head.weight", "base_model.model.head.bias", "base_model.model.norm.weight"],
        [f"base_model.model.{MODULE}.lora_magnitude_vector"],
        [f"base_model.model.{MODULE}.lora_B.bias"],
        [f"base_model.model.{MODULE}.lora_A.default.weight"],
        [f"base_model.model.{'x' * 300}.lora_{side}.weight" for side in "AB"],
    ],
    ids=lambda names: f"{len(names)} such as {names[0][-30:]}",
)
def test_tensors_that_are_no_matrices_of_a_pair_are_refused_by_name(folder: Path, stray: list[str]) -> None:
    change_weights(folder, {name: torch.ones(2, 2) for name in stray})
    with pytest.raises(AdapterError, match=f"not made of lora_A, lora_B pairs.*got {min(stray)[:40]}"):
        AdapterFolder(folder)


def test_two_pairs_that_mean_the_same_module_are_refused(folder: Path) -> None:
    official = {
        key.replace("model.aggregator.", "model.sem_seg_head.predictor.transformer."): tensor
        for key, tensor in load_file(folder / WEIGHTS).items()
    }
    change_weights(folder, official)
    change_config(folder, target_modules=None)
    with pytest.raises(AdapterError, match=r"two pairs of matrices for one module.*got aggregator\."):
        AdapterFolder(folder, our_name)


@pytest.mark.parametrize("dtype", [torch.int32, torch.complex64, torch.bool])
def test_matrices_of_other_than_floating_point_numbers_are_refused(folder: Path, dtype: torch.dtype) -> None:
    change_weights(folder, {A: torch.ones(2, 16).to(dtype)})
    with pytest.raises(AdapterError, match=f"unsupported type.*got {A}"):
        AdapterFolder(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_a_folder_or_a_device_in_place_of_a_file_is_refused_at_once(
    folder: Path, name: str, make: Callable[[Path], None]
) -> None:
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(AdapterError, match=f"unreadable.*{name}.*not a regular file"):
        read_whole(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
def test_a_huge_file_is_refused_without_being_read(folder: Path, name: str) -> None:
    os.truncate(folder / name, 2**40)  # sparse: it takes no space on the disk
    with pytest.raises(AdapterError, match=rf"unreadable.*{name}.*has 1099511627776 bytes, at most"):
        read_whole(folder)


def test_a_header_of_many_megabytes_is_refused(folder: Path) -> None:
    change_weights(folder, {f"{i}.{'x' * 200}.lora_A.weight": torch.ones(1, 1) for i in range(6000)})
    with pytest.raises(AdapterError, match=r"unreadable adapter.*header is longer"):
        AdapterFolder(folder)


def test_a_file_replaced_by_a_pipe_since_it_was_opened_is_refused_at_once(folder: Path) -> None:
    opened = AdapterFolder(folder)
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)
    with pytest.raises(AdapterError, match=r"unreadable adapter.*not a regular file"):
        opened.load()


def test_values_beyond_the_range_of_half_precision_are_refused_there(folder: Path) -> None:
    change_weights(folder, {B: torch.full((64, 2), 1e6)})
    opened = AdapterFolder(folder)
    assert opened.load(dtype=torch.float32).name == "fog"
    with pytest.raises(AdapterError, match="NaN or infinity"):
        opened.load(dtype=torch.float16)


def test_an_adapter_without_tensors_is_refused(folder: Path) -> None:
    save_file({}, folder / WEIGHTS)
    with pytest.raises(AdapterError, match="not made of lora_A, lora_B pairs"):
        AdapterFolder(folder)


def test_ranks_that_disagree_are_refused_with_both_shapes(folder: Path) -> None:
    change_weights(folder, {A: torch.zeros(3, 16)})
    with pytest.raises(AdapterError, match=rf"does not fit {MODULE}.*A \(3, 16\) and B \(64, 2\)"):
        AdapterFolder(folder).check(LAYERS)


def test_a_rank_other_than_the_configured_one_is_refused(folder: Path) -> None:
    change_config(folder, r=8)
    with pytest.raises(AdapterError, match=r"got A \(2, .*expected A \(8, "):
        AdapterFolder(folder).check(LAYERS)


def test_an_adapter_for_a_wider_base_is_refused_with_both_shapes(folder: Path) -> None:
    wider = {**LAYERS, MODULE: nn.Linear(32, 64)}
    with pytest.raises(AdapterError, match=rf"does not fit {MODULE}.*A \(2, 16\) .* expected A \(2, 32\)"):
        AdapterFolder(folder).check(wider)


def test_an_adapter_for_an_unknown_module_is_refused_by_name(folder: Path) -> None:
    change_config(folder, target_modules=None)
    change_weights(
        folder,
        {A.replace("layers.0", "layers.9"): torch.ones(2, 16), B.replace("layers.0", "layers.9"): torch.ones(64, 2)},
    )
    with pytest.raises(AdapterError, match=r"another base model.*got module aggregator\.layers\.9"):
        AdapterFolder(folder).check(LAYERS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_module(folder: Path, bad: float) -> None:
    up = load_file(folder / WEIGHTS)[B]
    up[3, 1] = bad
    change_weights(folder, {B: up})
    with pytest.raises(AdapterError, match=f"NaN or infinity.*got {B}"):
        AdapterFolder(folder).load()


def test_a_file_that_shrank_since_it_was_opened_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-5])
    with pytest.raises(AdapterError, match="unreadable adapter"):
        opened.load()


def test_a_file_replaced_by_one_of_another_rank_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    save_unlisted(random_adapter("fog", NETWORK, rank=3), Statistics.of(EMBEDDINGS), folder.parent)
    with pytest.raises(AdapterError, match=r"changed on disk.*reload"):
        opened.load()


def test_a_file_replaced_by_one_without_a_module_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    change_weights(folder, {A: None, B: None})
    with pytest.raises(AdapterError, match="unreadable adapter"):
        opened.load()


def resident_kib() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def test_loading_an_adapter_many_times_takes_no_more_memory(folder: Path) -> None:
    opened, loads = AdapterFolder(folder), 600
    for _ in range(100):
        opened.load()
    gc.collect()
    before = resident_kib()
    for _ in range(loads):
        opened.load()
    gc.collect()
    assert (resident_kib() - before) / loads < 2, "KiB per load"  # get_tensor of safe_open leaks 6 to 11
