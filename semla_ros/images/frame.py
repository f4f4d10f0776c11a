"""The input of the pipeline: a camera image with its stamp and frame_id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image.

    Attributes:
        rgb: Image (H, W, 3) uint8, RGB. It may share its memory with the message that it was decoded from: change
            neither of them.
        stamp_ns: Acquisition time by the clock of the camera driver, nanoseconds.
        frame_id: Name of the camera's coordinate frame.
    """

    rgb: NDArray[np.uint8]
    stamp_ns: int
    frame_id: str = ""
