"""Panoptic images: one number per segment, as ROS images, as PNG files of COCO, and their outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIVISOR = 1000  # label divisor of Cityscapes, Detectron2 and DeepLab
NO_SEGMENT = -1
INSTANCE = 256  # in the label maps of trainings: class id + 256 * instance, 255 is unlabelled


@dataclass(frozen=True)
class Segments:
    """The panoptic segments of an image: every object of a thing, and all of a stuff as one.

    Attributes:
        classes: Class of each pixel's segment, (H, W) int32; `NO_SEGMENT` where there is none.
        instances: Instance of each pixel, (H, W) uint16: 1 to n, numbered per image; 0 for stuff and for no segment.
    """

    classes: NDArray[np.int32]
    instances: NDArray[np.uint16]

    def without(self, pixels: NDArray[np.bool_]) -> Segments:
        """The segments without some pixels, (H, W) bool."""
        nothing = np.int32(NO_SEGMENT), np.uint16(0)
        return Segments(np.where(pixels, nothing[0], self.classes), np.where(pixels, nothing[1], self.instances))


def pack(classes: NDArray[np.integer], instances: NDArray[np.integer]) -> NDArray[np.int32]:
    """Combines class and instance into one number per pixel: class id * 1000 + instance.

    Args:
        classes: Class ids, (H, W); below 0 where there is no segment.
        instances: Instances of things, (H, W), 1 to 999; 0 for stuff. Pixels of higher ones keep their class only.

    Returns:
        Panoptic ids, (H, W) int32; `NO_SEGMENT` where there is no segment.
    """
    ids: NDArray[np.int32] = np.multiply(classes, DIVISOR, dtype=np.int32)
    np.add(ids, instances, out=ids, where=instances < DIVISOR, casting="unsafe")
    ids[classes < 0] = NO_SEGMENT
    return ids


def to_rgb(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Stores segment ids as colours, as COCO's panoptic format does: id = R + 256 G + 256² B.

    Args:
        ids: Segment ids, (H, W), 0 to 2²⁴ - 1; 0 is no segment.

    Returns:
        (H, W, 3) uint8, RGB.
    """
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)


def from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Reads the segment ids (H, W) int32 that `to_rgb` stored in an image (H, W, 3)."""
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    return red | green << 8 | blue << 16


def outlines(instances: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Marks the pixels of instances that touch another instance, or none, to their right or below, (H, W) bool."""
    edge = np.zeros(instances.shape, bool)
    edge[:, :-1] = instances[:, :-1] != instances[:, 1:]
    edge[:-1] |= instances[:-1] != instances[1:]
    return edge
