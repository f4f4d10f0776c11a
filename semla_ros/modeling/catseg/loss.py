"""The loss that CAT-Seg is trained with, for the whole network and for adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.images.classes import UNLABELLED
from semla_ros.modeling.base import TrainingLoss
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize

MAX_WEIGHT = 10.0  # of a class


class SegmentationLoss(TrainingLoss):
    """Binary cross-entropy per class and pixel (CAT-Seg, section 3.4).

    With ``balance`` b > 0, the pixels of a class count (T f)^-b times in that class's own term, at most `MAX_WEIGHT`
    times; f is the share of the class in the batch. Rare classes, such as poles and signs, are otherwise learned last.

    Args:
        network: Network to train.
        classes: Names of the T classes, in the order of the label ids. Each step draws one of the synonyms after
            commas ("car, automobile") for the prompt, which keeps the vocabulary open.
        balance: Exponent b of the class weights, 0 to 1; 0 gives equal weights, as published.
    """

    def __init__(self, network: CatSeg, classes: Sequence[str], balance: float = 0.0) -> None:
        arch = network.arch
        super().__init__(network, image_size=arch.image_size, label_size=max(8 * arch.grid, arch.out_grid))
        self.balance = balance
        texts = [prompts(name, "synonyms") for name in classes]
        self._tokens = [tokenize(each, network.arch.context_length) for each in texts]

    def draw_prompts(self, generator: torch.Generator) -> Tensor:
        """Draws one synonym per class; returns tokens (T, context_length) int64."""
        return torch.stack([t[int(torch.randint(len(t), (), generator=generator))] for t in self._tokens])

    def forward(self, images: Tensor, labels: Tensor, prompts: Tensor) -> Tensor:
        """See `semla_ros.modeling.base.TrainingLoss.forward`; ``prompts`` are tokens (T, context_length) int64."""
        logits = self.network(normalised(images), self.network.clip.encode_text(prompts))
        logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
        valid = labels != UNLABELLED
        targets = F.one_hot(labels.where(valid, 0), len(prompts)).permute(0, 3, 1, 2).to(logits)
        weights = valid[:, None].to(logits).expand_as(logits)
        balance = self._class_weights(labels[valid], len(prompts))[:, None, None].to(logits) if self.balance else None
        return F.binary_cross_entropy_with_logits(logits, targets, weights, pos_weight=balance)

    def _class_weights(self, labels: Tensor, classes: int) -> Tensor:
        """Weights (T,) of the T classes for the class ids (N,) of the N labelled pixels of a batch."""
        shares = torch.bincount(labels, minlength=classes).clamp(min=1) / max(1, labels.numel())
        return (classes * shares).pow(-self.balance).clamp(max=MAX_WEIGHT)
