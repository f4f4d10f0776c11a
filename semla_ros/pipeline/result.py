"""What comes out of the pipeline: a segmented image, and what is believed of its domain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.images.frame import Frame

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class DomainState:
    """What the pipeline believes of the domain.

    Attributes:
        mixture: What is fused into the weights now.
        distance: From the moving average of embeddings to the one the mixture was made for; NaN before the first.
        upper_threshold: Threshold that starts the debounce clock.
        lower_threshold: Threshold that stops it.
        support: Eq. 15 for the moving average and the active adapters; NaN before the first embedding.
        swaps: Since the start or the last reset, the first mixture included.
        skipped: Swaps that would have changed too little (ε).
        swapped: Whether this very frame brought a swap.
        out_of_distribution: No adapter's training images distance_p99 the moving average.
        frozen: Whether the mixture is held.
        error: Why the last adaptation failed; empty when it did not. The last good mixture stays.
    """

    mixture: Mixture = Mixture()
    distance: float = math.nan
    upper_threshold: float = math.nan
    lower_threshold: float = math.nan
    support: float = math.nan
    swaps: int = 0
    skipped: int = 0
    swapped: bool = False
    out_of_distribution: bool = False
    frozen: bool = False
    error: str = ""


@dataclass(frozen=True)
class SegmentationResult:
    """What comes out for one frame.

    Attributes:
        frame: What went in.
        labels: Class ids (H, W), uint8, or uint16 above 255 classes; the highest value where unlabelled.
        confidence: Probability of that class (H, W) float32, 0 to 1.
        domain: State after this frame.
        latency_s: Stage to seconds, for the stages that ran: embed, retrieve, fuse, text, segment.
    """

    frame: Frame
    labels: Labels
    confidence: NDArray[np.float32]
    domain: DomainState
    latency_s: Mapping[str, float]
