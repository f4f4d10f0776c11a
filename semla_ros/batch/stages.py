"""What a worker does with each image: embed it, or segment it with the mixture of its cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from semla_ros.adaptation.retrieval import Mixture, checked
from semla_ros.batch.rows import Batch, Embedded, Reading, Row, Segmented, Skipped, packed, unpacked
from semla_ros.config import Config
from semla_ros.errors import SemlaError
from semla_ros.images.classes import unlabelled
from semla_ros.images.conversion import to_mono8
from semla_ros.images.files import encoded
from semla_ros.pipeline.build import build_navigator, build_pipeline


class Stage:
    """One step for each image. Rows that are no images pass through; an image with an error becomes a `Skipped`."""

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """Yields the result of each row of a batch."""
        for row in unpacked(batch):
            yield packed([self._result(row) if isinstance(row, Reading) else row])

    def _result(self, reading: Reading) -> Row:
        try:
            return self.result(reading)
        except SemlaError as error:
            return Skipped(reading.source, reading.number, str(error))

    def result(self, reading: Reading) -> Row:
        """Returns the result for an image.

        Raises:
            SemlaError: There is none.
        """
        raise NotImplementedError


class EmbeddingStage(Stage):
    """Embeds images.

    Args:
        config: Settings, for bundle and device.
        threads: Number of CPU threads.
    """

    def __init__(self, config: Config, threads: int) -> None:
        torch.set_num_threads(threads)
        self._navigator = build_navigator(config)

    def result(self, reading: Reading) -> Row:
        """Returns the `Embedded` of an image."""
        embedding = self._navigator.embed(reading.frame.rgb)
        data = checked(embedding, len(embedding)).astype(np.float32).tobytes()
        return Embedded(reading.source, reading.number, reading.name, reading.frame.stamp_ns, data, reading.size)


class SegmentationStage(Stage):
    """Segments images. The mixture of a cluster is fused when the first image of the cluster arrives.

    Args:
        config: Settings.
        threads: Number of CPU threads.
        mixtures: Mixture of each cluster.
    """

    def __init__(self, config: Config, threads: int, mixtures: Sequence[Mixture]) -> None:
        self._pipeline = build_pipeline(config)
        torch.set_num_threads(threads)
        self._mixtures = mixtures
        self._cluster = -1

    def result(self, reading: Reading) -> Row:
        """Returns the `Segmented` of an image."""
        fuses = reading.cluster != self._cluster
        if fuses:
            self._pipeline.fuse(self._mixtures[reading.cluster])
            self._cluster = reading.cluster
        labels, confidence = self._pipeline.segment(reading.frame.rgb)
        labels[confidence < self._pipeline.config.segmenter.min_confidence] = unlabelled(labels)
        return Segmented(reading.source, reading.number, encoded(labels), encoded(to_mono8(confidence)), fuses)
