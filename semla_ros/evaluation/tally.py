"""What is counted of one method on one domain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semla_ros.evaluation.dataset import Dataset, LabelledImage, PanopticDataset
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.evaluation.panoptic_quality import PanopticQuality
from semla_ros.modeling.base import Mode, PanopticSegmenter
from semla_ros.pipeline.pipeline import SemlaPipeline


class Tally:
    """Confusion matrix, and panoptic quality where ground truth and segmenter have instances.

    Args:
        pipeline: Segments the images.
        dataset: Data set of the images.

    Attributes:
        confusion: Confusion matrix of all images so far.
        quality: Panoptic quality of all images so far; None without instances.
    """

    def __init__(self, pipeline: SemlaPipeline, dataset: Dataset) -> None:
        self.pipeline = pipeline
        self.confusion = ConfusionMatrix(len(pipeline.classes))
        self.quality: PanopticQuality | None = None
        if isinstance(dataset, PanopticDataset) and isinstance(pipeline.segmenter, PanopticSegmenter):
            self.quality = PanopticQuality(dataset.things)

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
        labels, _, found = self.pipeline.segment_instances(rgb, mode, size)
        assert found
        assert truth.instances is not None
        self.confusion.add(truth.labels, labels)
        self.quality.add((truth.labels, truth.instances), (found.classes, found.instances))
