from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import frame, random_adapter, random_network, save_unlisted
from torch import Tensor

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import CONFIG, AdapterFolder
from semla_ros.library.base_model import BaseModel
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.library.comparison import compare
from semla_ros.library.findings import adapter_findings
from semla_ros.library.inventory import inventory
from semla_ros.library.weight_difference import DIFFERENCE
from semla_ros.modeling.lora import Adapter
from semla_ros.pipeline.pipeline import SemlaPipeline

NETWORK = random_network()
LAYERS, PARAMETERS = NETWORK.adapted_layers(), dict(NETWORK.named_parameters())
NAME = "aggregator.conv1.bias"


@pytest.fixture
def adapter() -> Adapter:
    draw = torch.Generator().manual_seed(0)
    difference = {name: 0.1 * torch.randn(p.shape, generator=draw) for name, p in PARAMETERS.items()}
    return Adapter("fog", {}, 1.0, difference)


@pytest.fixture
def folder(adapter: Adapter, tmp_path: Path) -> Path:
    save_unlisted(adapter, Statistics(np.zeros(8)), tmp_path, torch.float32)
    return tmp_path / "fog"


def change(folder: Path, **changes: Tensor | None) -> None:
    tensors = load_file(folder / DIFFERENCE) | {name.replace("__", "."): value for name, value in changes.items()}
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / DIFFERENCE)


def test_what_is_saved_is_read_back(folder: Path, adapter: Adapter) -> None:
    read = AdapterFolder(folder)
    read.check(LAYERS, PARAMETERS)
    loaded = read.load()
    assert (read.rank, read.shapes, loaded.factors, loaded.scale) == (0, {}, {}, 1.0)
    assert loaded.difference.keys() == adapter.difference.keys()
    assert all(torch.equal(delta, adapter.difference[name]) for name, delta in loaded.difference.items())
    assert loaded.nbytes == adapter.nbytes > 0
    assert (read.files, read.size) == ((DIFFERENCE,), (folder / DIFFERENCE).stat().st_size)


def test_an_adapter_may_have_both_factors_and_a_difference(adapter: Adapter, tmp_path: Path) -> None:
    factors = {name: (torch.ones(2, p.in_features), torch.ones(p.out_features, 2)) for name, p in LAYERS.items()}
    both = Adapter("both", factors, 2.0, adapter.difference)
    save_unlisted(both, Statistics(np.zeros(8)), tmp_path, torch.float32)
    loaded = AdapterFolder(tmp_path / "both").load()
    assert (loaded.factors.keys(), loaded.difference.keys()) == (factors.keys(), adapter.difference.keys())


def test_a_difference_needs_the_parameters_of_its_segmenter(folder: Path) -> None:
    with pytest.raises(AdapterError, match=r"another base model.*expected a parameter of the segmenter"):
        AdapterFolder(folder).check(LAYERS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nothing__weight": torch.ones(2)}, r"another base model.*got nothing\.weight \(2,\), expected a parameter"),
        ({NAME.replace(".", "__"): torch.ones(3)}, rf"another base model.*got {NAME} \(3,\), expected shape \(16,\)"),
    ],
)
def test_a_difference_of_another_segmenter_is_refused_by_name(
    folder: Path, changes: dict[str, Tensor], message: str
) -> None:
    change(folder, **changes)
    with pytest.raises(AdapterError, match=message):
        AdapterFolder(folder).check(LAYERS, PARAMETERS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(folder: Path, bad: float) -> None:
    change(folder, **{NAME.replace(".", "__"): torch.full((16,), bad)})
    with pytest.raises(AdapterError, match=f"NaN or infinity.*got {NAME}"):
        AdapterFolder(folder).load()


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_truncated_file_is_refused_by_name(folder: Path, left: int) -> None:
    file = folder / DIFFERENCE
    file.write_bytes(file.read_bytes()[:left] if left >= 0 else file.read_bytes()[:-5])
    with pytest.raises(AdapterError, match=f"unreadable.*{DIFFERENCE}"):
        AdapterFolder(folder)


def test_a_file_without_tensors_is_refused(folder: Path) -> None:
    save_file({}, folder / DIFFERENCE)
    with pytest.raises(AdapterError, match=f"changes nothing.*{DIFFERENCE}"):
        AdapterFolder(folder)


def test_integers_are_refused(folder: Path) -> None:
    change(folder, **{NAME.replace(".", "__"): torch.ones(16, dtype=torch.int32)})
    with pytest.raises(AdapterError, match=f"unsupported type.*got {NAME}"):
        AdapterFolder(folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_pipe_a_folder_or_a_device_in_its_place_is_refused_at_once(
    folder: Path, make: Callable[[Path], None]
) -> None:
    (folder / DIFFERENCE).unlink()
    make(folder / DIFFERENCE)
    with pytest.raises(AdapterError, match=f"unreadable.*{DIFFERENCE}.*not a regular file"):
        AdapterFolder(folder)


def test_a_configuration_without_matrices_is_refused_as_before(folder: Path) -> None:
    (folder / CONFIG).write_text("{}")
    with pytest.raises(AdapterError, match=f"not a LoRA adapter.*{CONFIG}"):
        AdapterFolder(folder)


def test_a_pipeline_fuses_a_fully_trained_adapter_and_restores_the_base(
    pipeline: SemlaPipeline, adapter: Adapter
) -> None:
    network = pipeline.segmenter.network
    base = {name: value.clone() for name, value in network.state_dict().items()}
    adapters = pipeline.bundle.path / ADAPTERS
    statistics = pipeline.library.statistics[pipeline.library.names.index("blue")]
    shutil.rmtree(adapters / "blue")
    save_unlisted(Adapter("blue", {}, 1.0, adapter.difference), statistics, adapters, torch.float32)
    pipeline.reload_library()
    assert pipeline.library.rejected == []
    for index in range(4):
        result = pipeline.process(frame("blue", 100 + 0.5 * index))
    assert result.domain.error == ""
    assert "blue" in result.domain.mixture.names
    weight = dict(zip(result.domain.mixture.names, result.domain.mixture.weights, strict=True))["blue"]
    fused = network.state_dict()[NAME]
    assert torch.allclose(fused, base[NAME] + weight * adapter.difference[NAME], atol=1e-6)
    pipeline.adapted.fuser.apply([], ())
    assert all(torch.equal(value, base[name]) for name, value in network.state_dict().items())


# The commands for libraries


@pytest.fixture
def base(pristine_bundle: Path) -> BaseModel:
    return BaseModel.of(Bundle.open(pristine_bundle))


def test_a_fully_trained_adapter_is_listed(folder: Path, base: BaseModel) -> None:
    (entry,) = inventory([folder], base)
    assert (entry.rank, entry.method, entry.share, entry.errors) == (None, "full", 1.0, ())
    assert entry.size == (folder / DIFFERENCE).stat().st_size


def test_a_fully_trained_adapter_is_copied_and_checked(folder: Path, base: BaseModel, tmp_path: Path) -> None:
    AdapterFolder(folder).copy_to(tmp_path / "library" / folder.name)
    assert list(adapter_findings(tmp_path / "library/fog", base)) == []
    zero = {name: torch.zeros_like(delta) for name, delta in load_file(folder / DIFFERENCE).items()}
    save_file(zero, folder / DIFFERENCE)
    assert ["changes nothing" in each.detail for each in adapter_findings(folder, base)] == [True]


def test_a_fully_trained_adapter_is_compared_in_the_weights_of_the_layers(adapter: Adapter) -> None:
    lora = random_adapter("lora", NETWORK)
    layers, _ = compare(adapter, lora, LAYERS)
    for each in layers:
        weight = LAYERS[each.layer].weight
        full, (down, up) = adapter.difference[f"{each.layer}.weight"], lora.factors[each.layer]
        change = lora.scale * up @ down
        assert each.first == pytest.approx(float(full.norm() / weight.norm()), rel=1e-4)
        assert each.second == pytest.approx(float(change.norm() / weight.norm()), rel=1e-4)
        assert each.cosine == pytest.approx(float((full * change).sum() / full.norm() / change.norm()), abs=1e-4)
