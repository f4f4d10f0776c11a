"""How right the labels are: a image, a stretch, the whole drive; adapted and frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semla_ros.demo.drive import Stretch
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.images.encodings import Labels
from semla_ros.images.frame import Frame
from semla_ros.recordings import Recording, with_ground_truth

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline


@dataclass(frozen=True, slots=True)
class Shot:
    """One image of the drive with its labels, each (H, W).

    Attributes:
        frame: The image.
        ground_truth: True class ids.
        adapted: What the live node published; None where it dropped the image.
        frozen: What the base model says.
    """

    frame: Frame
    ground_truth: Labels
    adapted: Labels | None
    frozen: Labels


@dataclass(frozen=True, slots=True)
class Pair:
    """Mean intersection over union in percent; ``adapted`` is NaN for a dropped image."""

    adapted: float
    frozen: float

    @property
    def gain(self) -> float:
        """Points that adapting brings."""
        return self.adapted - self.frozen


def shots(drive: Recording, masks: Mapping[int, Labels], frozen: SemlaPipeline) -> Iterator[Shot]:
    """Goes through the drive: the recorded masks beside what ``frozen`` says of the same images."""
    for frame, ground_truth in with_ground_truth(drive.frames(), drive.ground_truth()):
        if ground_truth is not None:
            yield Shot(frame, ground_truth, masks.get(frame.stamp_ns), frozen.process(frame).labels)


class Scores:
    """Collects scores. Images that the node dropped count in neither total.

    Args:
        classes: Number of classes.
        stretches: Of the drive.

    Attributes:
        frames: Stamp to the image's own scores.
    """

    def __init__(self, classes: int, stretches: Sequence[Stretch]) -> None:
        self.frames: dict[int, Pair] = {}
        self._classes = classes
        self._total = self._matrices()
        self._stretches = {stretch: self._matrices() for stretch in stretches}

    def add(self, shot: Shot) -> Pair:
        """Scores a image, in all totals it belongs to; returns its own scores."""
        own = self._matrices()
        stamp = shot.frame.stamp_ns
        mine = [totals for stretch, totals in self._stretches.items() if stretch.begin_ns <= stamp < stretch.end_ns]
        for adapted, frozen in (own, *([self._total, *mine] if shot.adapted is not None else ())):
            frozen.add(shot.ground_truth, shot.frozen)
            if shot.adapted is not None:
                adapted.add(shot.ground_truth, shot.adapted)
        self.frames[stamp] = _pair(own)
        return self.frames[stamp]

    @property
    def total(self) -> Pair:
        """Of all images that the node segmented."""
        return _pair(self._total)

    @property
    def per_stretch(self) -> dict[Stretch, Pair]:
        """Of each stretch's images that the node segmented."""
        return {stretch: _pair(matrices) for stretch, matrices in self._stretches.items()}

    def _matrices(self) -> tuple[ConfusionMatrix, ConfusionMatrix]:
        return ConfusionMatrix(self._classes), ConfusionMatrix(self._classes)


def _pair(matrices: tuple[ConfusionMatrix, ConfusionMatrix]) -> Pair:
    adapted, frozen = matrices
    return Pair(adapted.miou, frozen.miou)
