"""Trains one adapter by one of the methods, for a network that is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from semla_ros.modeling.base import TrainingLoss
from semla_ros.modeling.lora import Adapter
from semla_ros.training.best import Best, Validation
from semla_ros.training.fingerprint import Fingerprint
from semla_ros.training.images import Images
from semla_ros.training.loop import fit
from semla_ros.training.methods import METHODS
from semla_ros.training.presets import Preset
from semla_ros.training.segmenter import batches


def fit_adapter(
    name: str, method: str, loss: TrainingLoss, layers: Mapping[str, nn.Linear], images: Images, preset: Preset,
    folder: Path, seed: int, accelerator: Accelerator, validation: Validation | None = None,
    fingerprint: Fingerprint | None = None,
) -> tuple[Adapter, Best]:  # fmt: skip
    """Trains an adapter. The network has its base weights again when this returns.

    Args:
        name: Name of the adapter, of its checkpoint and of its log.
        method: Name of the method, see `semla_ros.training.methods.METHODS`.
        loss: Loss of the network.
        layers: Module name to the linear layer that the adapter changes.
        images: Training images of the domain.
        preset: Settings of the training.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the initial factors, the batches and the prompts.
        accelerator: Device and processes.
        validation: Score of the present weights; None trains without.
        fingerprint: Checksum of what the training reads; None continues it with whatever is there.

    Returns:
        The adapter with the highest mIoU, or without a validation the last one, on the CPU; and the scores.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written; or the rank is
            too large for a layer.
    """
    torch.manual_seed(seed)
    trained = METHODS[method](loss.network, layers, preset)
    try:
        groups, schedule = trained.groups(preset.schedule.lr), preset.schedule
        draw = batches(loss, images, schedule.batch)
        best = fit(name, loss, draw, schedule, folder, seed, accelerator, groups, validation, fingerprint)
        return trained.export(name), best
    finally:
        trained.detach()
