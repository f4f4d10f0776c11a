"""A segmenter together with the mixture that is fused into its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.errors import SegmentationError
from semla_ros.images.classes import UNLABELLED, ClassInfo, Labels, unlabelled
from semla_ros.images.panoptic import Segments
from semla_ros.modeling.base import UNDEFINED, BatchSegmenter, Mode, PanopticSegmenter, PromptTemplates, Segmenter
from semla_ros.modeling.lora import Adapter, LoraFuser
from semla_ros.pipeline.memory import MemorySaver, first_line
from semla_ros.pipeline.stage_times import StageTimes

Load = Callable[[str], Adapter]


class AdaptedSegmenter:
    """Keeps weights, text embeddings and the reported mixture consistent, also when one of them fails to change.

    Args:
        segmenter: Segmenter with its base weights.
        classes: Classes that it segments.

    Attributes:
        segmenter: The segmenter.
        fuser: Changes its weights.
        classes: Classes that it segments, in the order of their ids.
        mixture: Mixture that is fused into its weights.
        memory: Segments with less memory once memory has run out.
    """

    def __init__(self, segmenter: Segmenter, classes: Sequence[ClassInfo]) -> None:
        self.segmenter, self.classes = segmenter, tuple(classes)
        self.fuser = LoraFuser(segmenter.adapted_layers(), segmenter.network)
        self.mixture = Mixture()
        self.memory = MemorySaver(segmenter)

    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[Labels, NDArray[np.float32]]:
        """Segments an image with the weights that are active now.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            mode: One pass ("plain") or sliding window ("sliding").
            size: Height and width of the result; by default those of the image.

        Returns:
            Class ids (h, w), uint8, or uint16 for more than 255 classes, and their probabilities (h, w) float32. Pixels
            for which the network computed NaN or infinity are unlabelled (255 or 65535) and have probability 0.

        Raises:
            SegmentationError: The segmenter failed, for example because memory ran out even for the smallest batches.
        """
        with _memory_errors_explained():
            ids, confidence = self.memory.run(self.segmenter.segment, rgb, mode, size)
        return self._labels(ids), confidence

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> list[tuple[Labels, NDArray[np.float32], Segments | None]]:
        """Segments images like `segment_instances`, in one pass of the network if the segmenter can do that.

        Raises:
            SegmentationError: As for `segment`.
        """
        if len(images) < 2 or not isinstance(self.segmenter, BatchSegmenter):
            return [self.segment_instances(rgb, mode, size) for rgb in images]
        with _memory_errors_explained():
            found = self.memory.run(self.segmenter.segment_together, images, mode, size)
        return [(self._labels(ids), confidence, None) for ids, confidence in found]

    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[Labels, NDArray[np.float32], Segments | None]:
        """Segments an image like `segment`, and tells objects apart if the segmenter does that.

        Returns:
            What `segment` returns, and the panoptic segments (h, w); None if the segmenter has no instances.

        Raises:
            SegmentationError: As for `segment`.
        """
        if not isinstance(self.segmenter, PanopticSegmenter):
            return *self.segment(rgb, mode, size), None
        with _memory_errors_explained():
            found = self.memory.run(self.segmenter.segment_instances, rgb, mode, size)
        segments = Segments(found.panoptic.astype(np.int32), found.instances.astype(np.uint16))
        return self._labels(found.labels), found.confidence, segments

    def fuse(self, mixture: Mixture, load: Load, times: StageTimes | None = None) -> None:
        """Replaces the mixture in the weights and encodes the classes with them. On any error nothing changes.

        Args:
            mixture: Adapters and weights; without adapters the base weights are restored.
            load: Adapter name to the adapter.
            times: Measures the stages fuse and text.

        Raises:
            AdapterError: The file of an adapter is damaged.
            FusionError: The fused weights are not finite.
        """
        adapters = [load(name) for name in mixture.names]
        self._fuse(mixture, adapters, self.segmenter.refresh_text, times or StageTimes())

    def restore_base(self, classes: Sequence[ClassInfo], prompt_templates: PromptTemplates) -> None:
        """Restores the base weights and segments into these classes from now on. On any error nothing changes."""
        self._fuse(Mixture(), [], lambda: self.set_classes(classes, prompt_templates), StageTimes())

    def set_classes(self, classes: Sequence[ClassInfo], prompt_templates: PromptTemplates) -> None:
        """Segments into these classes from now on. On any error the previous classes stay in force."""
        self.segmenter.set_classes([each.name for each in classes], prompt_templates)
        self.classes = tuple(classes)

    @property
    def takes_batches(self) -> bool:
        """Whether several images are segmented in one pass of the network."""
        return isinstance(self.segmenter, BatchSegmenter)

    def _labels(self, ids: NDArray[np.int64]) -> Labels:
        labels: Labels = ids.astype(np.uint8) if len(self.classes) <= UNLABELLED else ids.astype(np.uint16)
        labels[ids == UNDEFINED] = unlabelled(labels)
        return labels

    def _fuse(
        self, mixture: Mixture, adapters: Sequence[Adapter], encode: Callable[[], None], times: StageTimes
    ) -> None:
        times.start()
        with self.fuser.applied(adapters, mixture.weights):
            times.lap("fuse")
            encode()
            times.lap("text")
        self.mixture = mixture


@contextmanager
def _memory_errors_explained() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch reports exhausted memory as a RuntimeError
        raise SegmentationError("image could not be segmented", got=first_line(error)) from error
