"""Trains a small CLIP from scratch on StreetWorld. It becomes the navigator and the backbone of the segmenter."""

from __future__ import annotations

from pathlib import Path

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from torch import Tensor

from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.clip.state import clip_state
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.navigators.clip import ClipNavigator, ClipNavigatorArch
from semla_ros.training.data import Images
from semla_ros.training.loop import Schedule, fit


def navigator_arch(arch: CatSegArch) -> ClipNavigatorArch:
    """Sizes of the navigator: the image encoder of ``arch``, at the resolution that it is pretrained at."""
    return ClipNavigatorArch(
        arch.embed_dim, arch.position_grid * arch.patch_size, arch.patch_size, arch.vision_width, arch.vision_layers,
        arch.vision_heads, resize_mode="squash",
    )  # fmt: skip


def navigator_of(model: CLIP, arch: CatSegArch) -> ClipNavigator:
    """The image encoder of a trained open_clip model as a navigator."""
    sizes = navigator_arch(arch)
    network = sizes.build()
    network.load_state_dict(clip_state(model.visual.state_dict()))
    return ClipNavigator(network, sizes)


def new_clip(arch: CatSegArch) -> CLIP:
    """An untrained open_clip model with the sizes of ``arch``."""
    vision = {
        "image_size": arch.position_grid * arch.patch_size, "patch_size": arch.patch_size, "layers": arch.vision_layers,
        "width": arch.vision_width, "head_width": arch.vision_width // arch.vision_heads,
    }  # fmt: skip
    text = {
        "context_length": arch.context_length, "vocab_size": arch.vocab_size, "width": arch.text_width,
        "heads": arch.text_heads, "layers": arch.text_layers,
    }  # fmt: skip
    return CLIP(arch.embed_dim, vision, text, quick_gelu=True)


def train_clip(
    arch: CatSegArch, images: Images, schedule: Schedule, folder: Path, seed: int, device: torch.device
) -> CLIP:
    """Trains CLIP contrastively on pairs of image and caption.

    Args:
        arch: Sizes of the network.
        images: Training images with captions.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the initial weights and of the batches.
        device: Device to train on.

    Returns:
        The trained model on the CPU, in evaluation mode.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    torch.manual_seed(seed)
    model = new_clip(arch).to(device)
    contrastive = ClipLoss()

    def loss(generator: torch.Generator) -> Tensor:
        pixels, _, captions = images.batch(schedule.batch, generator)
        image, text, scale = model(pixels.to(device), tokenize(captions, arch.context_length).to(device))
        out: Tensor = contrastive(image, text, scale)
        return out

    model.train()
    fit("clip", model, loss, schedule, folder, seed)
    return model.eval().cpu()
