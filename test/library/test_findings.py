from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from adapter_files import change_config, change_weights
from tiny import random_adapter, random_network, save_unlisted

from semla_ros.adaptation.statistics import Statistics
from semla_ros.library.adapter_folder import CONFIG, WEIGHTS, statistics_file
from semla_ros.library.base_model import BaseModel
from semla_ros.library.bundle import Bundle
from semla_ros.library.findings import Finding, adapter_findings, centroid_findings
from semla_ros.library.library_folder import LibraryFolder
from semla_ros.modeling.lora import Adapter

NETWORK = random_network()
MODULE = "aggregator.layers.0.attention.MLP.0"


@pytest.fixture(scope="module")
def base(pristine_bundle: Path) -> BaseModel:
    return BaseModel.of(Bundle.open(pristine_bundle))


@pytest.fixture
def fog(tmp_path: Path) -> Path:
    save_unlisted(
        random_adapter("fog", NETWORK), Statistics.of(np.random.default_rng(0).normal(size=(20, 8))), tmp_path
    )
    return tmp_path / "fog"


def only(findings: object) -> Finding:
    (finding,) = findings  # type: ignore[misc]
    return finding


def test_a_whole_adapter_has_no_findings(fog: Path, base: BaseModel) -> None:
    assert list(adapter_findings(fog, base)) == []


def test_a_corrupt_tensor_file_is_found(fog: Path, base: BaseModel) -> None:
    (fog / WEIGHTS).write_bytes((fog / WEIGHTS).read_bytes()[:-9])
    finding = only(adapter_findings(fog, base))
    assert (finding.adapter, finding.subject) == ("fog", "weights")
    assert "unreadable adapter" in finding.detail


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_found(fog: Path, base: BaseModel, value: float) -> None:
    change_weights(fog, {f"base_model.model.{MODULE}.lora_B.weight": torch.full((64, 2), value)})
    assert "NaN or infinity" in only(adapter_findings(fog, base)).detail


def test_an_adapter_of_another_base_model_is_found(fog: Path, base: BaseModel) -> None:
    change_weights(fog, {f"base_model.model.{MODULE}.lora_A.weight": torch.ones(2, 99)})
    assert f"does not fit {MODULE}" in only(adapter_findings(fog, base)).detail


def test_a_truncated_statistics_file_is_found(fog: Path, base: BaseModel) -> None:
    file = statistics_file(fog)
    file.write_bytes(file.read_bytes()[:100])
    finding = only(adapter_findings(fog, base))
    assert finding.subject == "statistics"
    assert "unreadable statistics" in finding.detail


def test_statistics_of_another_navigator_are_found(fog: Path, base: BaseModel) -> None:
    np.savez(statistics_file(fog), train_average_embedding=np.zeros((1, 5)))
    assert "dimension 5, expected 8" in only(adapter_findings(fog, base)).detail


def test_both_files_are_checked_though_one_is_damaged(fog: Path, base: BaseModel) -> None:
    (fog / CONFIG).write_text("{")
    statistics_file(fog).unlink()
    assert [each.subject for each in adapter_findings(fog, base)] == ["weights", "statistics"]


def test_targets_without_matrices_and_matrices_without_a_target_are_found(fog: Path, base: BaseModel) -> None:
    targets = json.loads((fog / CONFIG).read_text())["target_modules"]
    change_config(fog, target_modules=[*[each for each in targets if each != MODULE], "nowhere"])
    unmatched, ignored = adapter_findings(fog, base)
    assert (unmatched.subject, ignored.subject) == ("targets", "targets")
    assert "no matrices for nowhere" in unmatched.detail
    assert f"lacks {MODULE}" in ignored.detail


def test_a_change_of_layers_without_effect_is_found_unless_it_is_zero(tmp_path: Path, base: BaseModel) -> None:
    idle = next(iter(base.layers.keys() - base.acting.keys()))
    layer, acting = base.layers[idle], random_adapter("idle", NETWORK).factors
    for up, expected in ((0.0, []), (1.0, [f"no effect on the output: {idle}"])):
        pair = torch.ones(2, layer.in_features), torch.full((layer.out_features, 2), up)
        save_unlisted(Adapter("idle", {**acting, idle: pair}, 1.0), Statistics.of(np.ones((3, 8))), tmp_path)
        assert [each.detail for each in adapter_findings(tmp_path / "idle", base)] == expected


def test_an_adapter_that_changes_nothing_is_found(tmp_path: Path, base: BaseModel) -> None:
    factors = {name: (a, torch.zeros_like(b)) for name, (a, b) in random_adapter("zero", NETWORK).factors.items()}
    save_unlisted(Adapter("zero", factors, 1.0), Statistics.of(np.ones((3, 8))), tmp_path)
    assert "changes nothing" in only(adapter_findings(tmp_path / "zero", base)).detail


def test_equal_centroids_are_found_in_both_adapters(fog: Path) -> None:
    for seed, name in enumerate(("copy", "other")):
        embeddings = np.random.default_rng(seed).normal(size=(20, 8))
        save_unlisted(random_adapter(name, NETWORK), Statistics.of(embeddings), fog.parent)
    findings = list(centroid_findings({path.name: path for path in LibraryFolder(fog.parent).paths}))
    assert [(each.adapter, each.subject) for each in findings] == [("copy", "centroid"), ("fog", "centroid")]
    assert "that of fog" in findings[0].detail
