"""How many bits of a camera's 16-bit images are in use."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

DEPTHS = (10, 12, 14, 16)  # bits, of common sensors


class BitDepth:
    """Scales 16-bit grey values to 8 bits by the number of bits that the camera uses.

    The encoding mono16 does not contain this number: a thermal camera of 14 bits uses only a quarter of the range. The
    number is the smallest of 10, 12, 14 and 16 that holds the largest value received so far. It never decreases, so the
    brightness of a stream changes three times at most. Use one object per stream of images.

    Args:
        bits: Number of bits known to be in use.

    Attributes:
        bits: Number of bits in use, by the images received so far.
    """

    def __init__(self, bits: int = DEPTHS[0]) -> None:
        self.bits = bits

    def to_uint8(self, values: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """Maps 0 to 2**bits - 1 linearly to 0 to 255, rounded; the shape stays."""
        highest = int(values.max())
        self.bits = max(self.bits, next(bits for bits in DEPTHS if highest < 2**bits))
        scaled = cv2.convertScaleAbs(values, alpha=255.0 / (2**self.bits - 1))
        return np.asarray(scaled, np.uint8).reshape(values.shape)


def full_range() -> BitDepth:
    """Returns the scale of images that use all 16 bits."""
    return BitDepth(DEPTHS[-1])
