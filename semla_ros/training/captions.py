"""Captions for the navigator of a StreetWorld bundle: a text encoder is fitted to it, and encodes them.

The navigator comes from a CLIP, but the text encoder in the bundle does not belong to it any more: the training of the
segmenter has changed it. The image encoder is held fixed, as in LiT (CVPR 2022), and the text encoder is trained to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.library.bundle import Bundle
from semla_ros.library.captions import CaptionTable, vocabulary
from semla_ros.modeling.base import Navigator
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.progress import ProgressBar
from semla_ros.streetworld.dataset import sample
from semla_ros.streetworld.domains import DOMAINS

OUTDOORS, INDOORS = ("a street", "a road through the woods"), ("a corridor inside a building",)
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY, TEMPERATURE = 600, 128, 1e-3, 0.1, 0.05
SEED = 1  # of the streets that the navigator was trained on
Pairs = tuple[NDArray[np.float64], list[str]]


def caption_table(bundle: Bundle, images: int) -> CaptionTable:
    """Renders images, fits the text encoder and encodes the captions of StreetWorld's places.

    Args:
        bundle: Bundle that `semla train world` made.
        images: Rendered images per domain.
    """
    clip: Clip = bundle.load_network().clip  # type: ignore[assignment]
    embeddings, sentences = rendered_pairs(bundle.load_navigator(), images)
    fit_text(clip, embeddings, sentences)
    return CaptionTable.encoded(vocabulary(OUTDOORS, INDOORS), lambda texts: _encoded(clip, texts))


def rendered_pairs(navigator: Navigator, images: int) -> Pairs:
    """Returns the navigator's embeddings (N, D) of rendered images of all domains, and the N captions of the images."""
    samples = [(name, index) for name in DOMAINS for index in range(images)]
    embeddings, sentences = [], []
    for name, index in ProgressBar(samples, desc="images", unit="image"):
        rendered = sample(name, index, SEED)
        embeddings.append(navigator.embed(rendered.rgb))
        sentences.append(rendered.caption)
    return np.array(embeddings), sentences


def fit_text(clip: Clip, embeddings: NDArray[np.float64], sentences: Sequence[str], steps: int = STEPS) -> None:
    """Trains the text encoder contrastively, in place, except the token embedding.

    Args:
        clip: CLIP whose text encoder is trained.
        embeddings: Image embeddings (N, D), fixed.
        sentences: Caption of each image.
        steps: Number of steps.
    """
    clip.requires_grad_(True)
    clip.visual.requires_grad_(False)
    clip.token_embedding.requires_grad_(False)
    parameters = [each for each in clip.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, steps, pct_start=0.1)
    images, tokens = F.normalize(torch.from_numpy(embeddings).float(), dim=-1), _tokens(clip, sentences)
    draw = torch.Generator().manual_seed(SEED)
    for _ in ProgressBar(range(steps), desc="text encoder", unit="step"):
        rows = torch.randint(len(images), (BATCH,), generator=draw)
        loss = _contrastive_loss(images[rows], clip.encode_text(tokens[rows]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    clip.requires_grad_(False)


def _contrastive_loss(images: Tensor, texts: Tensor) -> Tensor:
    """CLIP's loss of B pairs of L2-normalised embeddings (B, D)."""
    logits, own = images @ texts.T / TEMPERATURE, torch.arange(len(images))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _tokens(clip: Clip, texts: Sequence[str]) -> Tensor:
    return tokenize(texts, len(clip.positional_embedding))


@torch.no_grad()
def _encoded(clip: Clip, texts: Sequence[str]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = clip.encode_text(_tokens(clip, texts)).double().numpy()
    return out
