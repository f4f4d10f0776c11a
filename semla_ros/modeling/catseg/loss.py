"""The loss that CAT-Seg is trained with, for the whole network and for adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.images.classes import UNLABELLED
from semla_ros.modeling.base import TrainingLoss
from semla_ros.modeling.catseg.network import CatSeg, cost_volume
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize

MAX_WEIGHT = 10.0  # of a class
PATCH_TEMPERATURE = 0.07  # at which CLIP begins its own training


class SegmentationLoss(TrainingLoss):
    """Binary cross-entropy per class and pixel (CAT-Seg, section 3.4).

    Two additions help small networks that are trained from scratch; both are off as published.

    With ``balance`` b > 0, the pixels of a class count (T f)^-b times in that class's own term, at most `MAX_WEIGHT`
    times; f is the share of the class in the batch. Rare classes, such as poles and signs, are otherwise learned last.

    With ``patch_weight`` > 0, CLIP itself learns to tell the classes apart: the cross-entropy of each patch, between
    the shares of the classes in the patch and the softmax of its row of the cost volume, is added with this weight.
    The aggregation can only refine what the cost volume contains.

    Args:
        network: Network to train.
        classes: Names of the T classes, in the order of the label ids. Each step draws one of the synonyms after
            commas ("car, automobile") for the prompt, which keeps the vocabulary open.
        balance: Exponent b of the class weights, 0 to 1; 0 gives equal weights.
        patch_weight: Weight of the cross-entropy of the patches, from 0.
    """

    def __init__(
        self, network: CatSeg, classes: Sequence[str], balance: float = 0.0, patch_weight: float = 0.0
    ) -> None:
        arch = network.arch
        super().__init__(network, image_size=arch.image_size, label_size=max(8 * arch.grid, arch.out_grid))
        self.balance, self.patch_weight = balance, patch_weight
        texts = [prompts(name, "synonyms") for name in classes]
        self._tokens = [tokenize(each, network.arch.context_length) for each in texts]

    def draw_prompts(self, generator: torch.Generator) -> Tensor:
        """Draws one synonym per class; returns tokens (T, context_length) int64."""
        return torch.stack([t[int(torch.randint(len(t), (), generator=generator))] for t in self._tokens])

    def forward(self, images: Tensor, labels: Tensor, prompts: Tensor) -> Tensor:
        """See `semla_ros.modeling.base.TrainingLoss.forward`; ``prompts`` are tokens (T, context_length) int64."""
        text, pixels = self.network.clip.encode_text(prompts), normalised(images)
        features = self.network.image_features(pixels)
        logits = self.network.logits(pixels, features, text)
        logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
        valid = labels != UNLABELLED
        targets = F.one_hot(labels.where(valid, 0), len(prompts)).permute(0, 3, 1, 2).to(logits) * valid[:, None]
        balance = self._class_weights(labels[valid], len(prompts))[:, None, None].to(logits) if self.balance else None
        counted = valid[:, None].to(logits).expand_as(logits)
        loss = F.binary_cross_entropy_with_logits(logits, targets, counted, pos_weight=balance)
        if self.patch_weight:
            weighted = targets if balance is None else targets * balance
            loss = loss + self.patch_weight * self._patch_loss(cost_volume(features.dense, text), weighted)
        return loss

    def _patch_loss(self, similarity: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the cost volume (B, T, H, W) with the weighted targets (B, T, h, w) of the pixels."""
        shares = F.interpolate(targets, similarity.shape[-2:], mode="area")
        scores = F.log_softmax(similarity / PATCH_TEMPERATURE, dim=1)
        return -(shares * scores).sum() / shares.sum().clamp(min=1e-6)

    def _class_weights(self, labels: Tensor, classes: int) -> Tensor:
        """Weights (T,) of the T classes for the class ids (N,) of the N labelled pixels of a batch."""
        shares = torch.bincount(labels, minlength=classes).clamp(min=1) / max(1, labels.numel())
        return (classes * shares).pow(-self.balance).clamp(max=MAX_WEIGHT)
