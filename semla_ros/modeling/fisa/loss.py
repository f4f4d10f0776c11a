"""The loss that FISA is trained with, equation (6): 2 cross-entropy + 5 Dice + 5 binary cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.modeling.base import Size, TrainingLoss
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.fisa.matching import BCE, CLASS, DICE, Truth, differences, match
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.segmenter import square

NO_OBJECT = 0.1  # weight of masks that match no segment, as in Mask2Former


class FisaLoss(TrainingLoss):
    """Compares each true segment with the proposed mask that matches it best, in class and shape.

    Labels are class + 256 * instance. In plain label maps, all pixels of a class are one segment. Images have the size
    of the mask generator's largest input: it is frozen and has not seen images stretched to squares.

    Args:
        network: Network to train.
        classes: Names of the T classes, in the order of the label ids. Each step draws one of the synonyms after
            commas ("car, automobile") for the prompt.
    """

    def __init__(self, network: Fisa, classes: Sequence[str]) -> None:
        arch = network.arch
        height, width = network.generator.size(arch.generator_short, arch.generator_long)
        super().__init__(network, (height, width), (height // 2, width // 2))
        self.image_size: Size
        self.label_size: Size
        void = [[arch.void]] if arch.void else []
        texts = [*(prompts(name, "synonyms") for name in classes), *(prompts(each[0]) for each in void)]
        self._tokens = [tokenize(each, arch.context_length) for each in texts]

    def draw_prompts(self, generator: torch.Generator) -> Tensor:
        """Draws one synonym per class; returns tokens (T, context_length) int64, and last those of void."""
        return torch.stack([t[int(torch.randint(len(t), (), generator=generator))] for t in self._tokens])

    def forward(self, images: Tensor, labels: Tensor, prompts: Tensor) -> Tensor:
        """See `semla_ros.modeling.base.TrainingLoss.forward`; ``prompts`` are what `draw_prompts` returns."""
        arch = self.network.arch
        proposals = self.network.generator(images)
        pixels = square(normalised(images), arch.image_size)
        scores, masks = self.network(pixels, proposals, self.network.clip.encode_text(prompts))
        masks = F.interpolate(masks.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
        return fisa_loss(scores, masks, [Truth.of(each) for each in labels], bool(arch.void))


def fisa_loss(scores: Tensor, masks: Tensor, truths: Sequence[Truth], has_void: bool) -> Tensor:
    """Computes equation (6) in float32, as Mask2Former averages it: over all masks of the batch.

    Args:
        scores: Logits of the classes, (B, m, T or T + 1).
        masks: Logits of the masks, (B, m, h, w).
        truths: True segments of each image.
        has_void: Whether the last class is void, which masks without a match are trained to have.
    """
    with torch.autocast(scores.device.type, enabled=False):
        return _loss(scores.float(), masks.float(), truths, has_void)


def _loss(scores: Tensor, masks: Tensor, truths: Sequence[Truth], has_void: bool) -> Tensor:
    entropy, dice, wanted = scores.new_zeros(()), scores.new_zeros(()), []
    for score, mask, truth in zip(scores, masks, truths, strict=True):
        target = torch.full((len(score),), score.shape[1] - 1 if has_void else -1, device=score.device)
        if len(truth.classes) and len(score):
            pairs = differences(mask[:, truth.labelled], truth.masks)
            matched = match(score, *pairs, truth.classes)
            target[matched[0]] = truth.classes[matched[1]]
            entropy, dice = entropy + pairs[0][matched].sum(), dice + pairs[1][matched].sum()
        wanted.append(target)
    count = max(1, sum(min(len(truth.classes), scores.shape[1]) for truth in truths))
    weight = torch.ones(scores.shape[2], device=scores.device)
    if has_void:
        weight[-1] = NO_OBJECT
    targets = torch.cat(wanted)
    known = targets >= 0
    if not known.any():
        return scores.sum() * 0 + masks.sum() * 0
    classes = F.cross_entropy(scores.flatten(0, 1)[known], targets[known], weight)
    return CLASS * classes + BCE * entropy / count + DICE * dice / count
