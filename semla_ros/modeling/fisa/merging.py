"""From classified masks to maps: semantic (Mask2Former, section 3.2) and panoptic (MaskFormer, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.modeling.base import UNDEFINED
from semla_ros.modeling.running_maximum import RunningMaximum

VALUES = 2**26  # of maps at the size of the image at a time: 256 MiB
CERTAIN = 0.5  # probability from which on a pixel counts to the area of a mask


def semantic(
    scores: Tensor, masks: Tensor, classes: int, size: tuple[int, int], values_at_a_time: int = VALUES
) -> tuple[Tensor, Tensor]:
    """Finds the class of every pixel: the one with the largest Σ_masks softmax(scores) · sigmoid(mask).

    Args:
        scores: Logits of the classes, and of void after them, (m, T or T + 1) float32.
        masks: Logits of the masks, (m, h, w) float32.
        classes: Number of classes T.
        size: Height and width of the result.
        values_at_a_time: Number of values at the size of the result that are computed at a time.

    Returns:
        Class indices (H, W) int64, and confidence (H, W) float32, 0 to 1: the sum of that class, divided by the sum of
        all classes where it exceeds 1. Pixels with NaN or infinity are `UNDEFINED` and have 0.
    """
    weights = scores.softmax(-1)[:, :classes]
    maps = torch.einsum("mt,mhw->thw", weights, masks.sigmoid())  # (T, h, w)
    maps = maps.masked_fill(~maps.isfinite(), torch.nan)
    maximum = RunningMaximum(size, masks.device)
    for chunk in _resized(maps, size, values_at_a_time):
        maximum.update(chunk)
    total, *_ = _resized(maps.sum(0, keepdim=True), size, values_at_a_time)
    highest, labels = maximum.defined()
    return labels, highest.div_(total[0].clamp(min=1)).nan_to_num_(0)


def panoptic(
    scores: Tensor, masks: Tensor, things: Sequence[bool], size: tuple[int, int], score_threshold: float,
    overlap_threshold: float, values_at_a_time: int = VALUES,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Gives every pixel to one mask, and leaves out masks that are uncertain or mostly hidden.

    The result is that of ``post_process_panoptic_segmentation`` of transformers' Mask2FormerImageProcessor for masks of
    384 x 384 pixels, which it resizes all masks to. Its ids repeat where a stuff class has several masks; ours do not.

    Args:
        scores: Logits of the classes, and of void after them, (m, T or T + 1) float32.
        masks: Logits of the masks, (m, h, w) float32.
        things: Whether each of the T classes has instances.
        size: Height and width of the result.
        score_threshold: Probability of its class from which on a mask becomes a segment.
        overlap_threshold: Share of a mask that other masks must leave visible.
        values_at_a_time: Number of values at the size of the result that are computed at a time.

    Returns:
        Class indices (H, W) int64, `UNDEFINED` where there is no segment or a mask has NaN; and instances (H, W)
        int64, 1 to n for things, 0 elsewhere.
    """
    undefined = torch.full(size, UNDEFINED, dtype=torch.int64, device=masks.device)
    # 1. Masks with a certain class, which is not void.
    certainty, classes = scores.softmax(-1).max(-1)
    kept = (classes < len(things)) & (certainty > score_threshold)
    if not kept.any():
        return undefined, torch.zeros_like(undefined)
    certainty, classes = certainty[kept], classes[kept]
    # 2. Each pixel belongs to the mask with the highest probability there, weighted with the certainty of its class.
    maximum, areas = RunningMaximum(size, masks.device), []
    weighted = masks[kept].sigmoid().mul_(certainty[:, None, None])
    for chunk in _resized(weighted, size, values_at_a_time):
        maximum.update(chunk)
        areas.append((chunk >= CERTAIN).flatten(1).sum(1))
    # 3. A mask of which the others have left enough is a segment. Things are numbered.
    _, owner = maximum.defined()
    area, visible = torch.cat(areas), (owner.flatten() + 1).bincount(minlength=len(classes) + 1)[1:]
    segment = (visible > 0) & (area > 0) & (visible / area.clamp(min=1) > overlap_threshold)
    thing = segment & torch.tensor(things, device=masks.device)[classes]
    number = thing.cumsum(0).where(thing, 0)
    # A pixel without an owner (-1) takes the entry after that of the last mask.
    return F.pad(classes.where(segment, UNDEFINED), (0, 1), value=UNDEFINED)[owner], F.pad(number, (0, 1))[owner]


def _resized(maps: Tensor, size: tuple[int, int], values_at_a_time: int) -> Iterator[Tensor]:
    """Yields maps (C, h, w) at a size, bilinearly, a few at a time, (c, H, W)."""
    for part in maps.split(max(1, values_at_a_time // (size[0] * size[1]))):
        same = part.shape[1:] == size
        yield part if same else F.interpolate(part[None], size, mode="bilinear", align_corners=False)[0]
