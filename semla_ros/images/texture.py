"""The texture of an image: its colours, and its detail at three scales, in sixty numbers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE, SCALES = 128, 3
LEAST = 3e-4  # added to every amplitude before its logarithm; an eighth of the step between two grey levels
TEXTURE_DIM = 3 * (2 + SCALES * 3 * 2)


def texture(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measures the texture of an image, for the out-of-distribution test.

    The image is resized to 128 x 128 pixels and decomposed by Haar wavelets. Networks are trained to ignore the
    differences in fine detail between one camera or renderer and another; here they show.

    Args:
        rgb: Image (H, W, 3) uint8, RGB.

    Returns:
        Per channel the mean and the standard deviation; then per scale, band (horizontal, vertical, diagonal detail)
        and channel the logarithms of the mean amplitude and of the standard deviation, (60,).
    """
    resized = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = np.ascontiguousarray(resized.transpose(2, 0, 1), np.float32) / 255  # sums over rows in memory are faster
    out = [small.mean((1, 2)), small.std((1, 2))]
    for _ in range(SCALES):
        a, b, c, d = small[:, ::2, ::2], small[:, ::2, 1::2], small[:, 1::2, ::2], small[:, 1::2, 1::2]
        for band in (a - b + c - d, a + b - c - d, a - b - c + d):
            out += [np.log(np.abs(band).mean((1, 2)) / 2 + LEAST), np.log(band.std((1, 2)) / 2 + LEAST)]
        small = (a + b + c + d) / 4
    return np.concatenate(out).astype(np.float64)
