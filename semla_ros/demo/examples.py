"""One image of each steady stretch, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.demo.drive import Stretch
from semla_ros.demo.scores import Pair, Shot
from semla_ros.images.classes import ClassInfo
from semla_ros.images.conversion import colorize

RgbImage = NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """A image and its labels in the classes' colours, each (H, W, 3) uint8 RGB.

    Attributes:
        domain: The true one.
        camera: The image.
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
    """Takes the first image from the middle of each steady stretch on that the node segmented.

    Args:
        stretches: Of the drive.
        classes: Of the labels.
    """

    def __init__(self, stretches: Sequence[Stretch], classes: Sequence[ClassInfo]) -> None:
        self.taken: list[Example] = []
        self._open = [stretch for stretch in stretches if stretch.steady]
        self._classes = classes

    def add(self, shot: Shot, pair: Pair) -> None:
        """Takes the image if it is the one; they come in order."""
        stamp = shot.frame.stamp_ns
        self._open = [stretch for stretch in self._open if stamp < stretch.end_ns]
        if shot.adapted is None or not self._open or stamp < self._open[0].middle_ns:
            return
        ground_truth, frozen, adapted = (
            colorize(each, self._classes) for each in (shot.ground_truth, shot.frozen, shot.adapted)
        )
        self.taken.append(Example(self._open.pop(0).domain, shot.frame.rgb, ground_truth, frozen, adapted, pair))
