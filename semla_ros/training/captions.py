"""Captions for the navigator of a StreetWorld bundle: a text encoder is fitted to it, and encodes them.

The navigator comes from a CLIP, but the text encoder in the bundle does not belong to it any more: the training of the
segmenter has changed it. The image encoder is held fixed, as in LiT (CVPR 2022), and the text encoder is trained to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from open_clip.loss import ClipLoss
from torch import Tensor, nn

from semla_ros.library.bundle import Bundle
from semla_ros.library.captions import CaptionTable, vocabulary
from semla_ros.modeling.base import Navigator
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.training.loop import fit
from semla_ros.training.schedule import Schedule

OUTDOORS, INDOORS = ("a street", "a road through the woods"), ("a corridor inside a building",)
SCHEDULE = Schedule(steps=600, batch=128, lr=1e-3, warmup=60, weight_decay=0.1)
TEMPERATURE = 0.05
Pairs = tuple[NDArray[np.float64], list[str]]


class TextContrastive(nn.Module):
    """CLIP's contrastive loss of a text encoder to fixed image embeddings, in all processes together.

    Args:
        clip: CLIP whose text encoder is trained, except the token embedding.
        accelerator: Processes that share a batch.
    """

    def __init__(self, clip: Clip, accelerator: Accelerator) -> None:
        super().__init__()
        self.clip = clip.requires_grad_(True)
        self.clip.visual.requires_grad_(False)
        self.clip.token_embedding.requires_grad_(False)
        rank, processes = accelerator.process_index, accelerator.num_processes
        self._loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=processes)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Returns the loss of L2-normalised embeddings (B, D) with captions' tokens (B, context_length) int64."""
        out: Tensor = self._loss(images, self.clip.encode_text(tokens), images.new_tensor(1 / TEMPERATURE))
        return out


def caption_table(
    bundle: Bundle, pairs: Pairs, schedule: Schedule, folder: Path, seed: int, accelerator: Accelerator
) -> CaptionTable:
    """Fits the text encoder and encodes the captions of StreetWorld's places.

    Args:
        bundle: Bundle that `semla train world` made.
        pairs: Image embeddings of its navigator and captions, see `embedded`.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the batches.
        accelerator: Device and processes.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    clip: Clip = bundle.load_network().clip  # type: ignore[assignment]
    fit_text(clip, *pairs, schedule, folder, seed, accelerator)
    return CaptionTable.encoded(vocabulary(OUTDOORS, INDOORS), lambda texts: _encoded(clip, texts))


def embedded(navigator: Navigator, pairs: Iterable[tuple[NDArray[np.uint8], str]]) -> Pairs:
    """Returns the navigator's embeddings (N, D) of images (H, W, 3) uint8, and their N captions."""
    found = [(navigator.embed(rgb), caption) for rgb, caption in pairs]
    return np.array([embedding for embedding, _ in found]), [caption for _, caption in found]


def fit_text(
    clip: Clip, embeddings: NDArray[np.float64], sentences: Sequence[str], schedule: Schedule, folder: Path, seed: int,
    accelerator: Accelerator,
) -> None:  # fmt: skip
    """Trains the text encoder contrastively, in place, except the token embedding.

    Args:
        clip: CLIP whose text encoder is trained; it is on the CPU in the end.
        embeddings: Image embeddings (N, D), fixed.
        sentences: Caption of each image.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the batches.
        accelerator: Device and processes.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    images, tokens = F.normalize(torch.from_numpy(embeddings).float(), dim=-1), _tokens(clip, sentences)

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(images), (schedule.batch,), generator=generator)[share]
        return images[rows], tokens[rows]

    fit("captions", TextContrastive(clip, accelerator), draw, schedule, folder, seed, accelerator)
    clip.cpu().requires_grad_(False)


def _tokens(clip: Clip, texts: Sequence[str]) -> Tensor:
    return tokenize(texts, len(clip.positional_embedding))


@torch.no_grad()
def _encoded(clip: Clip, texts: Sequence[str]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = clip.encode_text(_tokens(clip, texts)).double().numpy()
    return out
