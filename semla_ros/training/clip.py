"""Trains a small CLIP from scratch on StreetWorld. It becomes the navigator and the backbone of the segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from torch import Tensor, nn

from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.state import clip_state
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.navigators.clip import ClipNavigator, ClipNavigatorArch
from semla_ros.training.images import Images
from semla_ros.training.loop import fit
from semla_ros.training.schedule import Schedule


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


class Contrastive(nn.Module):
    """CLIP's contrastive loss over the pairs of a batch, in all processes together.

    Args:
        model: Model to train.
        accelerator: Processes that share a batch.
    """

    def __init__(self, model: CLIP, accelerator: Accelerator) -> None:
        super().__init__()
        self.model = model
        rank, processes = accelerator.process_index, accelerator.num_processes
        self._loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=processes)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Returns the loss of images (B, S, S, 3) uint8 with captions' tokens (B, context_length) int64, a scalar."""
        out: Tensor = self._loss(*self.model(normalised(images), tokens))
        return out


def train_clip(
    arch: CatSegArch, images: Images, captions: Sequence[str], schedule: Schedule, folder: Path, seed: int,
    accelerator: Accelerator,
) -> CLIP:  # fmt: skip
    """Trains CLIP contrastively on pairs of image and caption.

    Args:
        arch: Sizes of the network.
        images: Training images.
        captions: Caption of each image.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the initial weights and of the batches.
        accelerator: Device and processes.

    Returns:
        The trained model on the CPU, in evaluation mode.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    torch.manual_seed(seed)
    loss = Contrastive(new_clip(arch), accelerator)

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, Tensor]:
        pixels, _, chosen = images.draw(schedule.batch, generator, share)
        return pixels, tokenize([captions[i] for i in chosen.tolist()], arch.context_length)

    fit("clip", loss.train(), draw, schedule, folder, seed, accelerator)
    return loss.model.eval().cpu()
