"""One result as it is published: perhaps smaller, its confidence encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.node.settings import NodeConfig

if TYPE_CHECKING:
    from semla_ros.pipeline.result import SegmentationResult


@dataclass(frozen=True, slots=True)
class Output:
    """What is published of one image.

    Attributes:
        rgb: Image, (h, w, 3) uint8.
        labels: Class ids, (h, w) uint8 or uint16.
        confidence: round(255 p), (h, w) uint8; or p, (h, w) float32.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8] | NDArray[np.uint16]
    confidence: NDArray[np.uint8] | NDArray[np.float32]

    @classmethod
    def of(cls, result: SegmentationResult, config: NodeConfig) -> Output:
        """The output that the settings ask for."""
        rgb, labels, confidence = result.frame.rgb, result.labels, result.confidence
        height, width = output_size(labels.shape[0], labels.shape[1], config)
        if (height, width) != labels.shape:
            rgb = _resized(rgb, height, width, cv2.INTER_AREA)
            labels = _resized(labels, height, width, cv2.INTER_NEAREST)
            confidence = _resized(confidence, height, width, cv2.INTER_NEAREST)  # each pixel's label keeps its own
        if config.confidence_encoding == "mono8":
            confidence = np.asarray(cv2.convertScaleAbs(confidence, alpha=255.0))  # rounds and saturates
        return cls(rgb, labels, confidence)


def output_size(height: int, width: int, config: NodeConfig) -> tuple[int, int]:
    """(height, width) of what is published of such a image: never larger; a side set to 0 follows the other."""
    wide = min(width, config.output_width or round(width * config.output_height / height) or width)
    high = min(height, config.output_height or round(height * wide / width))
    return max(1, high), wide


def _resized(pixels: NDArray[Any], height: int, width: int, interpolation: int) -> NDArray[Any]:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=interpolation))
