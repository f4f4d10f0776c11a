"""A segmenter with instances: connected pixels of one class are one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from other_kinds.color_segmenter import ColorArch, ColorNetwork, ColorSegmenter
from semla_ros.modeling.base import UNDEFINED, Instances, Mode, PromptTemplates, SegmenterKind

CERTAIN = 0.6  # confidence from which a pixel has a segment


@dataclass(frozen=True)
class BlobArch(ColorArch):
    """See `ColorArch`."""

    kind: ClassVar[str] = "blob"


class BlobSegmenter(ColorSegmenter):
    """See `semla_ros.modeling.base.PanopticSegmenter`. Every class but the first is a thing."""

    def __init__(
        self, network: ColorNetwork, classes: Sequence[str], prompt_templates: PromptTemplates, memory_mib: int
    ) -> None:
        super().__init__(network, classes, prompt_templates, memory_mib)
        self.passes = 0  # of the network

    @property
    def things(self) -> tuple[bool, ...]:
        return tuple(index > 0 for index in range(len(self.classes)))

    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self.passes += 1
        return super().segment(rgb, mode, size)

    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> Instances:
        labels, confidence = self.segment(rgb, mode, size)
        instances, count = np.zeros(labels.shape, np.int64), 0
        for index in np.flatnonzero(self.things):
            found, blobs = cv2.connectedComponents((labels == index).astype(np.uint8), connectivity=4)
            instances[blobs > 0] = blobs[blobs > 0] + count
            count += found - 1
        certain = confidence >= CERTAIN
        return Instances(labels, confidence, np.where(certain, instances, 0), np.where(certain, labels, UNDEFINED))


def from_published(state: Mapping[str, Tensor]) -> tuple[BlobArch, dict[str, Tensor]]:
    return BlobArch(len(state["classify.bias"])), dict(state)


KIND = SegmenterKind(
    architecture=BlobArch,
    network=ColorNetwork,
    segmenter=BlobSegmenter,
    official_compat=None,
    from_published=from_published,
    unused_keys=lambda state: [],
    module_name=str,
)
