"""mIoU of the adapting node and of the frozen model: per image, per stretch and for the whole drive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semla_ros.demo.drive import Stretch
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.images.classes import Labels
from semla_ros.images.frame import Frame
from semla_ros.recordings import Recording, with_ground_truth

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of the drive with its labels, each (H, W) class ids.

    Attributes:
        frame: Camera image.
        ground_truth: True labels.
        adapted: Labels that the live node published; None if it dropped the image.
        frozen: Labels of the base model.
    """

    frame: Frame
    ground_truth: Labels
    adapted: Labels | None
    frozen: Labels


@dataclass(frozen=True, slots=True)
class Pair:
    """mIoU (mean intersection over union) in percent.

    Attributes:
        adapted: mIoU of the live node; NaN for an image that it dropped.
        frozen: mIoU of the base model.
    """

    adapted: float
    frozen: float

    @property
    def gain(self) -> float:
        """Difference of both, in percentage points."""
        return self.adapted - self.frozen


def labelled_images(drive: Recording, masks: Mapping[int, Labels], frozen: SemlaPipeline) -> Iterator[LabelledImage]:
    """Yields the images of a drive that have ground truth, with the labels of both models.

    Args:
        drive: The drive.
        masks: Recorded masks of the live node by stamp, nanoseconds.
        frozen: Pipeline that does not adapt. It segments each image here.
    """
    for frame, ground_truth in with_ground_truth(drive.frames(), drive.ground_truth()):
        if ground_truth is not None:
            yield LabelledImage(frame, ground_truth, masks.get(frame.stamp_ns), frozen.process(frame).labels)


class Scores:
    """Collects scores. An image that the node dropped counts in no total, for both models.

    Args:
        classes: Number of classes.
        stretches: Stretches of the drive.

    Attributes:
        frames: Score of each image by its stamp, nanoseconds.
    """

    def __init__(self, classes: int, stretches: Sequence[Stretch]) -> None:
        self.frames: dict[int, Pair] = {}
        self._classes = classes
        self._total = self._matrices()
        self._stretches = {stretch: self._matrices() for stretch in stretches}

    def add(self, item: LabelledImage) -> Pair:
        """Scores an image, adds it to the totals and returns its own score."""
        own = self._matrices()
        stamp = item.frame.stamp_ns
        mine = [totals for stretch, totals in self._stretches.items() if stretch.begin_ns <= stamp < stretch.end_ns]
        for adapted, frozen in (own, *([self._total, *mine] if item.adapted is not None else ())):
            frozen.add(item.ground_truth, item.frozen)
            if item.adapted is not None:
                adapted.add(item.ground_truth, item.adapted)
        self.frames[stamp] = _scores(own)
        return self.frames[stamp]

    @property
    def total(self) -> Pair:
        """Score over all images that the node segmented."""
        return _scores(self._total)

    @property
    def per_stretch(self) -> dict[Stretch, Pair]:
        """Score of each stretch, over its images that the node segmented."""
        return {stretch: _scores(matrices) for stretch, matrices in self._stretches.items()}

    def _matrices(self) -> tuple[ConfusionMatrix, ConfusionMatrix]:
        return ConfusionMatrix(self._classes), ConfusionMatrix(self._classes)


def _scores(matrices: tuple[ConfusionMatrix, ConfusionMatrix]) -> Pair:
    adapted, frozen = matrices
    return Pair(adapted.miou, frozen.miou)
