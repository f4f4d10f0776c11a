"""What the pipeline knows about the current domain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from semla_ros.adaptation.retrieval import Mixture


@dataclass(frozen=True)
class DomainState:
    """State of the adaptation after a frame.

    Attributes:
        mixture: Adapters and weights that are fused into the segmenter now.
        distance: Distance from the moving average of the embeddings to the one that the mixture was retrieved for; NaN
            before the first mixture.
        upper_threshold: Distance above which the debounce clock starts.
        lower_threshold: Distance below which the debounce clock stops.
        support: Support score (Eq. 15) of the active adapters for the moving average; NaN before the first embedding.
        swaps: Number of swaps since the start or the last reset, the first mixture included.
        skipped: Number of swaps that were skipped because the weights would have changed too little.
        swapped: Whether the mixture changed at this frame.
        out_of_distribution: Whether the moving averages of embedding and texture are unlike the training images of
            every adapter.
        frozen: Whether the mixture is held.
        error: Reason why adaptation does not work at present; empty while it works. The last good mixture stays in use.
            It is replaced by every newer error, and by the next embedding that is used without an error.
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
