"""What goes into the pipeline: one camera image with its time and place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image.

    Attributes:
        rgb: Image, (H, W, 3) uint8, RGB.
        stamp_ns: Acquisition time, nanoseconds since the epoch of whoever stamped it.
        frame_id: Name of the camera's coordinate frame.
    """

    rgb: NDArray[np.uint8]
    stamp_ns: int
    frame_id: str = ""
