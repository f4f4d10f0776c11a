"""A bundle that finds bright pixels, with a segmenter that has instances or with one that has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from other_kinds.blob_segmenter import BlobArch
from other_kinds.color_navigator import MeanColorArch
from other_kinds.color_segmenter import ColorArch, ColorNetwork
from semla_ros.adaptation.statistics import Statistics
from semla_ros.config import Config, changed
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.modeling.base import NAVIGATORS, SEGMENTERS
from semla_ros.modeling.lora import Adapter
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline

CLASSES = ("dark", "bright")
BLOBS = BlobArch(2)


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the kinds to the registry."""
    monkeypatch.setitem(SEGMENTERS, "blob", "other_kinds.blob_segmenter")
    monkeypatch.setitem(SEGMENTERS, "color", "other_kinds.color_segmenter")
    monkeypatch.setitem(NAVIGATORS, "mean_color", "other_kinds.color_navigator")


def write_bundle(path: Path, arch: ColorArch = BLOBS) -> Path:
    """Writes the bundle, with two adapters that change nothing."""
    network = ColorNetwork(arch)
    with torch.no_grad():
        network.classify.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0]]))
        network.classify.bias.copy_(torch.tensor([0.0, -6.0]))
    bundle = Bundle(path, "bright blobs", arch, MeanColorArch(), CLASSES, defaults=Defaults(k=1))
    bundle.save(network, nn.Linear(1, 1), torch.float32)
    for value, name in enumerate(("night", "day")):
        colors = 100.0 * value + np.random.default_rng(0).normal(0, 1, (8, 3))
        factors = {"classify": (torch.zeros(1, 3), torch.zeros(2, 1))}
        save_adapter(Adapter(name, factors, 1.0), Statistics.of(colors), bundle.path / ADAPTERS, torch.float32)
    return bundle.path


def opened(bundle: Path, **settings: object) -> SemlaPipeline:
    given = {key.replace("__", "."): value for key, value in settings.items()}
    return build_pipeline(changed(Config(), {"model.bundle": str(bundle), "model.device": "cpu", **given}))


def two_blobs() -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """An image (10, 12, 3) of two bright objects on a dark ground, and its instances (10, 12)."""
    instances = np.zeros((10, 12), np.uint16)
    instances[2:5, 2:6], instances[6:9, 2:6] = 1, 2
    return np.where(instances[..., None] > 0, 250, 5).astype(np.uint8).repeat(3, axis=2), instances
