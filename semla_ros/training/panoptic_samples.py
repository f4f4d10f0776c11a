"""Panoptic images for a training, read from disk when they are drawn, with large-scale jittering."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semla_ros.errors import TrainingError
from semla_ros.evaluation.coco_panoptic import CocoPanoptic
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.images.classes import UNLABELLED
from semla_ros.images.panoptic import INSTANCE
from semla_ros.modeling.base import Size

GREY = 128  # beside images that are smaller than the crop
READERS = 4


class PanopticSamples:
    """Draws random crops of a data set.

    Args:
        dataset: Images with panoptic ground truth.
        size: Height and width of the crops, pixels.
        label_size: Height and width of their label maps, pixels.
        jitter: Smallest and largest scale: an image that fits the crop has scale 1.
    """

    def __init__(self, dataset: CocoPanoptic, size: Size, label_size: Size, jitter: tuple[float, float]) -> None:
        self.dataset, self.size, self.label_size, self.jitter = dataset, size, label_size, jitter
        self._readers = ThreadPoolExecutor(READERS)

    def draw(self, count: int, generator: torch.Generator, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Draws a batch.

        Args:
            count: Number of samples in the batch.
            generator: Random generator of the draw.
            share: Samples of the batch to return, B of them.

        Returns:
            Images (B, H, W, 3) uint8 and labels, class + 256 * instance, (B, h, w) int64; 255 is unlabelled.

        Raises:
            RecordingError: See `CocoPanoptic`.
            TrainingError: All images are damaged.
        """
        chosen = torch.randint(len(self.dataset), (count,), generator=generator)[share].tolist()
        dice = torch.rand(count, 4, generator=generator)[share].tolist()
        images, labels = zip(*self._readers.map(self._sample, chosen, dice), strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)).long()

    def _sample(self, index: int, dice: Sequence[float]) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
        item = self._readable(index)
        low, high = self.jitter
        rgb, labels = cropped(item.rgb, self._labels(item), self.size, low + (high - low) * dice[0], dice[1:3])
        if dice[3] < 0.5:
            rgb, labels = rgb[:, ::-1], labels[:, ::-1]
        labels = cv2.resize(labels, self.label_size[::-1], interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        return np.ascontiguousarray(rgb), labels

    def _readable(self, index: int) -> LabelledImage:
        """The image of that number, or the next one that is not damaged."""
        for offset in range(len(self.dataset)):
            item = self.dataset.read((index + offset) % len(self.dataset))
            if item is not None:
                return item
        raise TrainingError("no image could be read", hint="The warnings name the damaged files.")

    def _labels(self, item: LabelledImage) -> NDArray[np.uint16]:
        """Class + 256 * instance. Crowds, and instances beyond 255, are unlabelled."""
        assert item.instances is not None  # the data set is panoptic
        things = np.zeros(INSTANCE, bool)
        things[: len(self.dataset.things)] = self.dataset.things
        odd = (things[item.labels] & (item.instances == 0)) | (item.instances >= INSTANCE)
        return np.where(odd, np.uint16(UNLABELLED), item.labels + INSTANCE * item.instances).astype(np.uint16)


def cropped(
    rgb: NDArray[np.uint8], labels: NDArray[np.uint16], size: Size, scale: float, place: Sequence[float]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Resizes an image and cuts out a part of it, or fills up what it lacks.

    Args:
        rgb: Image (H, W, 3) uint8.
        labels: Its labels (H, W) uint16.
        size: Height h and width w of the result.
        scale: Size of the image; at 1 it just fits the result, its aspect ratio kept.
        place: Where the part lies in what is left, from top and left, 0 to 1.

    Returns:
        Image (h, w, 3), grey beside the resized one; and labels (h, w), unlabelled there.
    """
    height, width = rgb.shape[:2]
    factor = scale * min(size[0] / height, size[1] / width)
    resized = max(1, round(factor * width)), max(1, round(factor * height))
    shrinks = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    rgb = cv2.resize(rgb, resized, interpolation=shrinks)  # type: ignore[assignment]
    labels = cv2.resize(labels, resized, interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
    top, left = (round(p * max(0, have - want)) for p, have, want in zip(place, resized[::-1], size, strict=True))
    rgb, labels = (each[top : top + size[0], left : left + size[1]] for each in (rgb, labels))  # type: ignore[assignment]
    image, truth = np.full((*size, 3), GREY, np.uint8), np.full(size, UNLABELLED, np.uint16)
    image[: rgb.shape[0], : rgb.shape[1]], truth[: rgb.shape[0], : rgb.shape[1]] = rgb, labels
    return image, truth
