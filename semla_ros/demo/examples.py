"""Example images for the report: one from each steady stretch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.demo.drive import Stretch
from semla_ros.demo.scores import LabelledImage, Pair
from semla_ros.images.classes import ClassInfo
from semla_ros.images.conversion import colorize

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """An image and its labels in the colours of their classes, each (H, W, 3) uint8 RGB.

    Attributes:
        domain: True domain.
        camera: Camera image.
        ground_truth: True labels.
        frozen: Labels of the base model.
        adapted: Labels of the live node.
        pair: mIoU of this image.
    """

    domain: str
    camera: RgbImage
    ground_truth: RgbImage
    frozen: RgbImage
    adapted: RgbImage
    pair: Pair


class Examples:
    """Selects, for each steady stretch, the first image after its middle that the node segmented.

    Args:
        stretches: Stretches of the drive.
        classes: Classes of the labels.

    Attributes:
        taken: The selected images.
    """

    def __init__(self, stretches: Sequence[Stretch], classes: Sequence[ClassInfo]) -> None:
        self.taken: list[Example] = []
        self._open = [stretch for stretch in stretches if stretch.steady]
        self._classes = classes

    def add(self, item: LabelledImage, pair: Pair) -> None:
        """Selects the image if it is the example of its stretch. Images must be given in order of time."""
        stamp = item.frame.stamp_ns
        self._open = [stretch for stretch in self._open if stamp < stretch.end_ns]
        if item.adapted is None or not self._open or stamp < self._open[0].middle_ns:
            return
        ground_truth, frozen, adapted = (
            colorize(each, self._classes) for each in (item.ground_truth, item.frozen, item.adapted)
        )
        self.taken.append(Example(self._open.pop(0).domain, item.frame.rgb, ground_truth, frozen, adapted, pair))
