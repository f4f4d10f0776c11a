"""Another segmenter is a folder and a line, another navigator a file and a line: shown with one example of each."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from other_kinds import color_segmenter
from other_kinds.color_navigator import MeanColorArch
from other_kinds.color_segmenter import ColorArch, ColorNetwork
from paths import PACKAGE
from tiny import drive, image
from torch import nn

from semla_ros.adaptation.statistics import Statistics
from semla_ros.cli import main
from semla_ros.config import Config, changed
from semla_ros.errors import BundleError, ConfigError
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.modeling.base import NAVIGATORS, SEGMENTERS, navigator_kind, segmenter_kind
from semla_ros.modeling.lora import Adapter
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.recordings import open_recording
from semla_ros.recordings.replay import replay

CLASSES = ("dark", "bright")


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two lines that a new segmenter and a new navigator need."""
    monkeypatch.setitem(SEGMENTERS, "color", "other_kinds.color_segmenter")
    monkeypatch.setitem(NAVIGATORS, "mean_color", "other_kinds.color_navigator")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of the two kinds; each adapter makes one class certain in its domain."""
    network = ColorNetwork(ColorArch(2))
    bundle = Bundle(tmp_path / "other", "by colour", ColorArch(2), MeanColorArch(), CLASSES, defaults=Defaults(k=1))
    with torch.no_grad():
        network.classify.weight.zero_()
        network.classify.bias.copy_(torch.tensor([0.1, 0.0]))
    bundle.save(network, nn.Linear(1, 1), torch.float32)
    for name, direction in (("red", -1.0), ("blue", 1.0)):
        factors = {"classify": (torch.ones(1, 3), direction * torch.tensor([[-5.0], [5.0]]))}
        colors = np.array([image(name, i).mean((0, 1)) for i in range(8)])
        save_adapter(Adapter(name, factors, 1.0), Statistics.of(colors), bundle.path / ADAPTERS, torch.float32)
    return bundle.path


def build(bundle: Path, **settings: object) -> SemlaPipeline:
    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu", **settings}))


@pytest.mark.usefixtures("_registered")
def test_another_segmenter_and_navigator_run_from_bundle_to_pipeline(bundle: Path) -> None:
    pipeline = build(bundle)
    results = [pipeline.process(frame) for frame in drive(("red", 5), ("blue", 8))]
    assert [result.domain.mixture.names for result in results if result.domain.swapped] == [("red",), ("blue",)]
    assert (results[-1].labels == 1).all()
    assert (results[40].labels == 0).all()
    assert all(result.domain.error == "" for result in results)


@pytest.mark.usefixtures("_registered")
def test_another_segmenter_and_navigator_replay_a_recording(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(4):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), image("red", index)[..., ::-1])
    summary = replay(open_recording(tmp_path / "images", fps=10.0), build(bundle), tmp_path / "out")
    assert (summary.frames, [swap.names for swap in summary.swaps]) == (4, [("red",)])
    assert (tmp_path / "out" / "metadata.yaml").is_file()


@pytest.mark.usefixtures("_registered")
def test_a_kind_without_published_code_cannot_reproduce_it(bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"no published code to reproduce \(model.official_compat\): .*color"):
        build(bundle, **{"model.official_compat": True})


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Images that are red on the left and blue on the right, with their label maps."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for index in range(30):
        bgr, labels = np.full((16, 16, 3), (40, 40, 200), np.uint8), np.zeros((16, 16), np.uint8)
        bgr[:, 8:], labels[:, 8:] = (200 + index, 40, 40), 1
        cv2.imwrite(str(tmp_path / f"images/{index:02d}.png"), bgr)
        cv2.imwrite(str(tmp_path / f"labels/{index:02d}.png"), labels)
    return tmp_path


def train_command(bundle: Path, labelled: Path) -> list[str]:
    folders = [str(labelled / "images"), str(labelled / "labels")]
    options = ["--rank", "1", "--lr", "0.3", "--device", "cpu", "--bundle", str(bundle)]
    return ["train", "adapter", *folders, "-o", str(bundle / ADAPTERS / "grey"), *options]


@pytest.mark.usefixtures("_registered")
def test_another_segmenter_is_trained_by_the_same_command(
    bundle: Path, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(train_command(bundle, labelled)) == 0
    before, after = re.findall(r"([\d.]+) % before, ([\d.]+) % after", capsys.readouterr().out)[0]
    assert float(before) < 60 < 95 < float(after)
    assert "grey" in build(bundle).library.names


@pytest.mark.usefixtures("_registered")
def test_a_kind_without_a_loss_cannot_be_trained(
    bundle: Path, labelled: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(color_segmenter, "KIND", replace(color_segmenter.KIND, loss=None))
    assert main(train_command(bundle, labelled)) == 1
    assert "this kind of segmenter cannot be trained" in capsys.readouterr().err


def test_a_kind_that_is_not_registered_is_refused_naming_those_that_are(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"unknown kind of segmenter.*color.*expected.*catseg"):
        Bundle.open(bundle)


@pytest.mark.parametrize("names", [SEGMENTERS, NAVIGATORS])
def test_every_registered_kind_can_be_imported(names: dict[str, str]) -> None:
    find = segmenter_kind if names is SEGMENTERS else navigator_kind
    for name in names:
        assert find(name).architecture.kind == name


def sources() -> list[Path]:
    return [*(PACKAGE / "pipeline").glob("*.py"), *(PACKAGE / "library" / f"{n}.py" for n in ("bundle", "importing"))]


@pytest.mark.parametrize("source", sources(), ids=lambda file: file.name)
def test_bundle_importing_and_pipeline_name_no_segmenter(source: Path) -> None:
    assert re.findall(r"cat-?seg|fisa", source.read_text(), re.IGNORECASE) == []


@pytest.mark.parametrize("source", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda file: file.name)
def test_the_command_line_imports_no_segmenter(source: Path) -> None:
    imported = [
        node.module or "" for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)
    ]
    assert [name for name in imported if re.search(r"modeling\.(catseg|fisa)", name)] == []
