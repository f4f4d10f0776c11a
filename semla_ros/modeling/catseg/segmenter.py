"""CAT-Seg as a segmenter of images: classes, preprocessing, inference in one pass or by sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semla_ros.modeling.base import Mode
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.tiling import Plain, SlidingWindow, Tiling, resized
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.segmenter import ClipSegmenter
from semla_ros.modeling.running_maximum import RunningMaximum

CHUNK = 8  # classes that are resized to the image at a time, so that memory does not grow with their number
CHUNK_VALUES = 2**26  # at most, for very large images: 256 MiB of probabilities
MIB = 2**20


class CatSegSegmenter(ClipSegmenter):
    """Finds the class of every pixel of an image; see `semla_ros.modeling.base.BatchSegmenter`.

    ``memory_mib`` limits the activations of sliding windows that are computed in one batch, and the probabilities that
    are resized to the image at a time. Arguments and errors are those of `ClipSegmenter`.
    """

    network: CatSeg
    tilings: ClassVar[Mapping[Mode, Tiling]] = {"plain": Plain(), "sliding": SlidingWindow()}

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `semla_ros.modeling.base.Segmenter.segment`."""
        return self.segment_together([rgb], mode, size)[0]

    @torch.inference_mode()
    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """See `semla_ros.modeling.base.BatchSegmenter.segment_together`."""
        crops = [self._crops(rgb, mode) for rgb in images]
        logits = self._logits(torch.cat(crops)).split([len(each) for each in crops])
        return [
            self._most_probable(each, mode, size or (rgb.shape[0], rgb.shape[1]))
            for each, rgb in zip(logits, images, strict=True)
        ]

    def _most_probable(
        self, logits: Tensor, mode: Mode, size: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        maximum = RunningMaximum(size, self.device)
        for probabilities in self._probabilities(logits, mode, size):
            maximum.update(probabilities)
        confidence, labels = maximum.defined()
        return labels.cpu().numpy(), confidence.cpu().numpy()

    @torch.inference_mode()
    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Returns the input of the network in the plain mode, (1, 3, S, S), for an image (H, W, 3) uint8."""
        side = self.network.arch.image_size
        return resized(self._normalised(rgb), (side, side)).to(self.dtype)

    def _probabilities(self, logits: Tensor, mode: Mode, size: tuple[int, ...]) -> Iterator[Tensor]:
        """Yields the probabilities of a few classes at a time, (up to `CHUNK`, h, w); NaN where undefined.

        Args:
            logits: Those of the crops of one image, (B, T, out_grid, out_grid).
            mode: How the image was cut.
            size: Height and width of the result.
        """
        tiling = self.tilings[mode]
        logits = logits.masked_fill(~logits.isfinite(), torch.nan)  # the sigmoid of infinity would be finite
        values = min(CHUNK_VALUES, self.memory_mib * MIB // 4)
        for chunk in logits.split(min(CHUNK, max(1, values // (size[0] * size[1]))), dim=1):
            yield resized(tiling.blend(chunk), size)[0]

    def _crops(self, rgb: NDArray[np.uint8], mode: Mode) -> Tensor:
        """The crops of an image, stretched to the network's square input, (B, 3, S, S)."""
        side = self.network.arch.image_size
        return resized(self.tilings[mode].crops(self._normalised(rgb)), (side, side)).to(self.dtype)

    def _logits(self, pixels: Tensor) -> Tensor:
        """Crops (B, 3, S, S) to logits (B, T, out_grid, out_grid) float32."""
        batch_size = max(1, self.memory_mib * MIB // self.network.activation_bytes(len(self.classes)))
        return torch.cat([self.network(batch, self._text) for batch in pixels.split(batch_size)]).float()

    def _normalised(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Image (H, W, 3) uint8 to (1, 3, H, W) float32, normalised by CLIP's mean and standard deviation."""
        return normalised(self.on_device(rgb))
