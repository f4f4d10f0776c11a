"""Trains the weights of CAT-Seg for StreetWorld: the whole network on one domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from semla_ros.modeling.base import TrainingLoss
from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.clip.state import clip_state
from semla_ros.streetworld import CLASSES
from semla_ros.training.images import Images
from semla_ros.training.loop import Draw, fit
from semla_ros.training.schedule import Schedule

# Further names of StreetWorld's classes. Each step draws one name per class for the prompt.
SYNONYMS = {
    "road": ("street", "asphalt"),
    "sidewalk": ("pavement", "walkway"),
    "building": ("house",),
    "wall": ("brick wall",),
    "fence": ("railing",),
    "pole": ("post",),
    "traffic light": ("signal light",),
    "traffic sign": ("road sign",),
    "vegetation": ("tree", "bush"),
    "person": ("pedestrian", "walker"),
    "car": ("automobile", "vehicle"),
}
NAMES = tuple(", ".join((name, *SYNONYMS.get(name, ()))) for name in CLASSES)  # as `SegmentationLoss` takes them


def batches(loss: TrainingLoss, images: Images, size: int) -> Draw:
    """Returns what draws the batches of a segmenter's training: images, class ids and prompts.

    Args:
        loss: Loss that is trained; it draws the prompts.
        images: Training images.
        size: Number of samples per batch.
    """

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, ...]:
        pixels, labels, _ = images.draw(size, generator, share)
        return pixels, labels, loss.draw_prompts(generator)

    return draw


def backbone(arch: CatSegArch, clip: Mapping[str, Tensor]) -> CatSeg:
    """A CAT-Seg with a pretrained CLIP and otherwise new weights.

    Args:
        arch: Sizes of the network.
        clip: State dict of an open_clip model.
    """
    network = CatSeg(arch)
    state = clip_state({key: value for key, value in clip.items() if key != "logit_scale"})
    network.clip.load_state_dict({key: state[key] for key in network.clip.state_dict()})
    return network


def train_segmenter(
    loss: TrainingLoss, images: Images, schedule: Schedule, folder: Path, seed: int, accelerator: Accelerator
) -> None:
    """Trains all weights of CAT-Seg in place, except the token embedding.

    Args:
        loss: Loss of the segmenter.
        images: Training images.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the batches and prompts.
        accelerator: Device and processes.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    loss.network.clip.token_embedding.requires_grad_(False)
    fit("segmenter", loss.train(), batches(loss, images, schedule.batch), schedule, folder, seed, accelerator)
    loss.eval()
