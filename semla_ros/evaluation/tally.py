"""What is counted of one method on one domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ConfigError
from semla_ros.evaluation.dataset import Dataset, LabelledImage, PanopticDataset
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.evaluation.oracle import Oracle, segment_with
from semla_ros.modeling.base import UNDEFINED, MaskClassifier, Mode, PanopticSegmenter
from semla_ros.pipeline.pipeline import SemlaPipeline

if TYPE_CHECKING:
    from semla_ros.evaluation.panoptic_quality import PanopticQuality, Segments

Classes = NDArray[np.integer]


class Tally:
    """Confusion matrix, and panoptic quality where ground truth and segmenter have instances.

    Args:
        pipeline: Segments the images.
        dataset: Data set of the images.
        oracle: What the ground truth gives, see `semla_ros.evaluation.oracle`; None for nothing.

    Attributes:
        confusion: Confusion matrix of all images so far.
        quality: Panoptic quality of all images so far; None without instances.

    Raises:
        ConfigError: There is an oracle, but the ground truth has no instances or the segmenter does not classify masks.
    """

    def __init__(self, pipeline: SemlaPipeline, dataset: Dataset, oracle: Oracle | None = None) -> None:
        self.pipeline, self.oracle = pipeline, oracle
        self.confusion = ConfusionMatrix(len(pipeline.classes))
        self.quality: PanopticQuality | None = None
        if isinstance(dataset, PanopticDataset) and isinstance(pipeline.segmenter, PanopticSegmenter):
            from semla_ros.evaluation.panoptic_quality import PanopticQuality  # torchmetrics takes seconds to import

            self.quality, self.things = PanopticQuality(dataset.things), dataset.things
        if oracle and not (self.quality and isinstance(pipeline.segmenter, MaskClassifier)):
            kind = pipeline.bundle.segmenter.kind
            raise ConfigError(
                "no oracle", where="--oracle", got=f"{dataset.name}, segmenter of kind {kind}",
                expected="ground truth with instances, and a segmenter that classifies masks, such as FISA",
            )  # fmt: skip

    def add(self, truth: LabelledImage, rgb: NDArray[np.uint8], mode: Mode) -> None:
        """Segments an image with the weights that are active now, and counts the result.

        Args:
            truth: Ground truth.
            rgb: The image at the size at which it is segmented, (H, W, 3) uint8.
            mode: How it is segmented.
        """
        size = truth.labels.shape[0], truth.labels.shape[1]
        if self.quality is None:
            self.confusion.add(truth.labels, self.pipeline.segment(rgb, mode, size)[0])
            return
        assert truth.instances is not None  # the data set is panoptic
        labels, found = self._segmented(truth, rgb, mode)
        self.confusion.add(truth.labels, labels)
        self.quality.add((truth.labels, truth.instances), found)

    def _segmented(self, truth: LabelledImage, rgb: NDArray[np.uint8], mode: Mode) -> tuple[Classes, Segments]:
        """Class ids per pixel, and classes and instances of the segments, all of the size of the ground truth."""
        segmenter = self.pipeline.segmenter
        if self.oracle and isinstance(segmenter, MaskClassifier):
            given = segment_with(self.oracle, segmenter, truth, rgb, self.things)
            labels = np.where(given.labels == UNDEFINED, self.confusion.classes, given.labels)
            return labels, (given.panoptic, given.instances)
        height, width = truth.labels.shape
        classes, _, found = self.pipeline.segment_instances(rgb, mode, (height, width))
        assert found  # the segmenter has instances
        return classes, (found.classes, found.instances)
