"""The result of the pipeline for one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.images.classes import Labels
from semla_ros.images.frame import Frame
from semla_ros.images.panoptic import Segments
from semla_ros.pipeline.domain_state import DomainState


@dataclass(frozen=True)
class SegmentationResult:
    """A segmented frame.

    Attributes:
        frame: The frame that was segmented.
        labels: Class ids (H, W), uint8, or uint16 for more than 255 classes. The largest value of the type (255 or
            65535) marks unlabelled pixels: those below ``segmenter.min_confidence``, and those for which the network
            computed NaN or infinity.
        confidence: Probability of the class (H, W) float32, 0 to 1; 0 where the network computed NaN or infinity.
        domain: State of the adaptation after this frame.
        latency_s: Stage to seconds, for the stages that ran: embed, retrieve, fuse, text, segment.
        segments: Objects told apart; None if the segmenter does not do that. Pixels below ``segmenter.min_confidence``
            have no segment.
    """

    frame: Frame
    labels: Labels
    confidence: NDArray[np.float32]
    domain: DomainState
    latency_s: Mapping[str, float]
    segments: Segments | None = None
