from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import random_adapter, random_network
from torch import Tensor, nn

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, is_target, save_adapter
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
    save_adapter(adapter, Statistics.of(EMBEDDINGS), tmp_path, torch.float32)
    return tmp_path / "fog"


def change_weights(folder: Path, changes: dict[str, Tensor | None]) -> None:
    tensors = load_file(folder / WEIGHTS) | changes
    save_file({key: value for key, value in tensors.items() if value is not None}, folder / WEIGHTS)


def change_config(folder: Path, **changes: Any) -> None:
    (folder / CONFIG).write_text(json.dumps(json.loads((folder / CONFIG).read_text()) | changes))


def test_what_is_saved_is_read_back(folder: Path, adapter: Adapter) -> None:
    read = AdapterFolder(folder)
    read.check(LAYERS)
    loaded = read.load()
    assert (loaded.name, loaded.scale) == ("fog", adapter.scale)
    assert loaded.factors.keys() == adapter.factors.keys()
    for name, (down, up) in loaded.factors.items():
        assert torch.equal(down, adapter.factors[name][0])
        assert torch.equal(up, adapter.factors[name][1])


def test_half_precision_on_disk_is_single_precision_in_memory(adapter: Adapter, tmp_path: Path) -> None:
    save_adapter(adapter, Statistics.of(EMBEDDINGS), tmp_path)
    down, up = AdapterFolder(tmp_path / "fog").load().factors[MODULE]
    assert down.dtype == up.dtype == torch.float32
    assert load_file(tmp_path / "fog" / WEIGHTS)[A].dtype == torch.float16
    assert torch.allclose(down, adapter.factors[MODULE][0], atol=1e-3)


def test_the_scale_is_alpha_by_rank(folder: Path) -> None:
    change_config(folder, lora_alpha=16)
    assert AdapterFolder(folder).scale == 8.0
    change_config(folder, use_rslora=True)
    assert AdapterFolder(folder).scale == pytest.approx(16 / 2**0.5)


def test_official_names_become_ours(folder: Path) -> None:
    official = {"clip.": "sem_seg_head.predictor.clip_model.", "aggregator.": "sem_seg_head.predictor.transformer."}
    tensors = load_file(folder / WEIGHTS)
    for ours, theirs in official.items():
        tensors = {key.replace(f"model.{ours}", f"model.{theirs}", 1): value for key, value in tensors.items()}
    save_file(tensors, folder / WEIGHTS)
    change_config(folder, target_modules=None)
    read = AdapterFolder(folder, our_name)
    read.check(LAYERS)
    assert read.load().factors.keys() == LAYERS.keys()


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterError, match=f"unreadable.*{name}"):
        AdapterFolder(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "fog_statistics.npz"])
@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_truncated_file_is_named(folder: Path, name: str, left: int) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:left] if left >= 0 else file.read_bytes()[:-5])
    with pytest.raises(AdapterError, match=f"unreadable.*{name}"):
        AdapterFolder(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"peft_type": "IA3"}, "not a LoRA adapter"),
        ({"r": None}, "without rank or alpha.*r=None"),
        ({"r": 0}, "r=0"),
        ({"lora_alpha": "16"}, "lora_alpha=16"),
        ({"lora_alpha": float("nan")}, "lora_alpha=nan"),
        ({"use_dora": True}, "unsupported kind of LoRA"),
        ({"rank_pattern": {"proj": 4}}, "unsupported kind of LoRA"),
        ({"alpha_pattern": {"proj": 4}}, "unsupported kind of LoRA"),
    ],
)
def test_a_configuration_we_cannot_honour_is_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    change_config(folder, **changes)
    with pytest.raises(AdapterError, match=said):
        AdapterFolder(folder)


def test_a_configuration_that_is_no_mapping_is_refused(folder: Path) -> None:
    (folder / CONFIG).write_text("[]")
    with pytest.raises(AdapterError, match="not a LoRA adapter"):
        AdapterFolder(folder)


@pytest.mark.parametrize("key", [A, B])
def test_a_missing_matrix_is_named(folder: Path, key: str) -> None:
    change_weights(folder, {key: None})
    with pytest.raises(AdapterError, match=f"lacks a matrix.*got nothing, expected {key}"):
        AdapterFolder(folder)


@pytest.mark.parametrize("stray", ["base_model.model.x.bias", f"base_model.model.{MODULE}.lora_magnitude_vector"])
def test_a_stray_tensor_is_refused(folder: Path, stray: str) -> None:
    change_weights(folder, {stray: torch.ones(3)})
    with pytest.raises(AdapterError, match=r"lacks a matrix|not made of lora_A, lora_B pairs"):
        AdapterFolder(folder)


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


def test_an_adapter_for_a_module_we_lack_is_refused_naming_it(folder: Path) -> None:
    change_config(folder, target_modules=None)
    change_weights(
        folder,
        {A.replace("layers.0", "layers.9"): torch.ones(2, 16), B.replace("layers.0", "layers.9"): torch.ones(64, 2)},
    )
    with pytest.raises(AdapterError, match=r"another base model.*got module aggregator\.layers\.9"):
        AdapterFolder(folder).check(LAYERS)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_naming_the_module(folder: Path, bad: float) -> None:
    up = load_file(folder / WEIGHTS)[B]
    up[3, 1] = bad
    change_weights(folder, {B: up})
    with pytest.raises(AdapterError, match=f"NaN or infinity.*got {MODULE}"):
        AdapterFolder(folder).load()


def test_a_file_that_shrank_since_it_was_opened_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-5])
    with pytest.raises(AdapterError, match="unreadable adapter"):
        opened.load()


def test_a_file_replaced_by_one_of_another_rank_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    save_adapter(random_adapter("fog", NETWORK, rank=3), Statistics.of(EMBEDDINGS), folder.parent)
    with pytest.raises(AdapterError, match=r"changed on disk.*reload"):
        opened.load()


def test_a_file_replaced_by_one_without_a_module_is_refused(folder: Path) -> None:
    opened = AdapterFolder(folder)
    change_weights(folder, {A: None, B: None})
    with pytest.raises(AdapterError, match="unreadable adapter"):
        opened.load()


class PeftModel(nn.Module):
    """Modules of which some end alike."""

    def __init__(self) -> None:
        super().__init__()
        block = lambda: nn.ModuleDict({"q": nn.Linear(4, 4), "xq": nn.Linear(4, 4), "proj": nn.Linear(4, 4)})  # noqa: E731
        self.visual = nn.ModuleDict({"attn": block(), "attn2": block()})
        self.q = nn.Linear(4, 4)


@pytest.mark.parametrize(
    "targets", [["q"], ["attn.q", "proj"], ["visual.attn.xq"], r".*attn\.(q|proj)", ["attn2.q", "q"], "all-linear"]
)
def test_targets_are_the_modules_that_peft_itself_adapts(targets: list[str] | str) -> None:
    peft = pytest.importorskip("peft")
    model = PeftModel()
    names = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=targets)).base_model.model
    theirs = {name for name, module in adapted.named_modules() if hasattr(module, "lora_A")}
    assert {name for name in names if is_target(name, targets)} == theirs


def test_tensors_of_modules_that_are_no_targets_do_not_act(folder: Path) -> None:
    change_config(folder, target_modules=["MLP.0"])
    read = AdapterFolder(folder)
    assert set(read.shapes) == {name for name in LAYERS if name.endswith(".MLP.0")}
    assert read.load().factors.keys() == read.shapes.keys()


@pytest.mark.parametrize("key", ["use_dora", "fan_in_fan_out", "layers_to_transform"])
def test_kinds_of_lora_that_mean_something_else_are_refused(folder: Path, key: str) -> None:
    change_config(folder, **{key: [1]})
    with pytest.raises(AdapterError, match=f"unsupported kind of LoRA.*{key}"):
        AdapterFolder(folder)
