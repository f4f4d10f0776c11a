"""Labelled images in memory, at the sizes that a network is trained with."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semla_ros.evaluation.dataset import Dataset, LabelledImage
from semla_ros.images.classes import UNLABELLED
from semla_ros.images.panoptic import INSTANCE
from semla_ros.modeling.base import Size
from semla_ros.progress import ProgressBar


@dataclass(frozen=True)
class Images:
    """Labelled images in memory.

    Attributes:
        images: (N, S, S, 3) uint8, RGB.
        labels: Class ids, (N, s, s) uint8; 255 is unlabelled. With instances: class id + 256 * instance, uint16.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | NDArray[np.uint16]

    @classmethod
    def read(
        cls, dataset: Dataset, image_size: int | Size, label_size: int | Size, interpolation: int = cv2.INTER_LINEAR,
        with_instances: bool = False,
    ) -> Images:  # fmt: skip
        """Reads a data set and resizes images and label maps to squares, or to another size.

        Args:
            dataset: Labelled images. Those that it skips as damaged are left out.
            image_size: Side length S of the images, or their height and width, pixels.
            label_size: Side length s of the label maps, or their height and width, pixels.
            interpolation: Interpolation of the images, one of OpenCV's. INTER_LINEAR is what the segmenter uses,
                INTER_AREA is close to the antialiased resize of the navigator.
            with_instances: Whether the label maps tell instances apart, up to 255 per image; others are unlabelled.

        Raises:
            RecordingError: A label map does not fit its image or the classes.
        """
        size, truth_size = _height_and_width(image_size), _height_and_width(label_size)
        images = np.empty((len(dataset), *size, 3), np.uint8)
        labels = np.empty((len(dataset), *truth_size), np.uint16 if with_instances else np.uint8)
        count = 0
        for count, item in enumerate(ProgressBar(dataset, desc="reading", total=len(dataset)), 1):
            truth = _with_instances(item) if with_instances else item.labels
            images[count - 1] = cv2.resize(item.rgb, size[::-1], interpolation=interpolation)
            labels[count - 1] = cv2.resize(truth, truth_size[::-1], interpolation=cv2.INTER_NEAREST)
        return cls(images[:count], labels[:count])

    def __len__(self) -> int:
        return len(self.images)

    def split(self, share: float) -> tuple[Images, Images]:
        """Splits off a share of the images, the last ones.

        Neighbouring frames of a recording look alike: a random share would have a twin of nearly every image among the
        others.
        """
        first = len(self) - int(share * len(self))
        return Images(self.images[:first], self.labels[:first]), Images(self.images[first:], self.labels[first:])

    def draw(self, size: int, generator: torch.Generator, share: slice = slice(None)) -> tuple[Tensor, ...]:
        """Draws a batch with replacement and mirrors each image with probability 0.5.

        Args:
            size: Number of samples in the batch.
            generator: Random generator of the draw.
            share: Samples of the batch to return, B of them.

        Returns:
            Images (B, S, S, 3) uint8, class ids (B, s, s) int64 and the samples' numbers (B,) int64.
        """
        chosen = torch.randint(len(self), (size,), generator=generator)[share]
        mirrored = (torch.rand(size, generator=generator) < 0.5)[share]
        images, labels = (
            torch.from_numpy(self.images[chosen.numpy()]),
            torch.from_numpy(self.labels[chosen.numpy()]).long(),
        )
        images[mirrored] = images[mirrored].flip(2)
        labels[mirrored] = labels[mirrored].flip(2)
        return images, labels, chosen


def _height_and_width(size: int | Size) -> Size:
    return (size, size) if isinstance(size, int) else size


def _with_instances(item: LabelledImage) -> NDArray[np.uint16]:
    """Class id + 256 * instance, (H, W) uint16."""
    labels = item.labels.astype(np.uint16)
    if item.instances is None:
        return labels
    return np.where(item.instances < INSTANCE, labels + INSTANCE * item.instances, np.uint16(UNLABELLED))
