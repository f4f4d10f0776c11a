"""FISA as a segmenter of images: classes, preprocessing, semantic and panoptic maps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from semla_ros.modeling.base import Instances, Mode
from semla_ros.modeling.clip.pixels import normalised
from semla_ros.modeling.clip.segmenter import ClipSegmenter
from semla_ros.modeling.fisa.merging import panoptic, semantic
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.things import are_things


class FisaSegmenter(ClipSegmenter):
    """Finds classes and instances in an image; see `semla_ros.modeling.base.PanopticSegmenter`.

    There is one mode: the whole image in one pass. The mask generator keeps the aspect ratio of the image; CLIP is
    shown the image stretched to a square. ``memory_mib`` limits the maps at the size of an image that are computed at a
    time. Arguments and errors are those of `ClipSegmenter`.
    """

    network: Fisa

    @property
    def things(self) -> tuple[bool, ...]:
        """Whether each class is a thing, which has instances, in the order of ``classes``."""
        return are_things(self.classes, self.network.arch.things, self.network.arch.stuff)

    def further_texts(self) -> list[str]:
        """The text of void, if the architecture names it."""
        return [self.network.arch.void] if self.network.arch.void else []

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `semla_ros.modeling.base.Segmenter.segment`. Both modes are the same."""
        scores, masks = self.classified(rgb)
        wanted = size or (rgb.shape[0], rgb.shape[1])
        labels, confidence = semantic(scores, masks, len(self.classes), wanted, self._values)
        return labels.cpu().numpy(), confidence.cpu().numpy()

    @torch.inference_mode()
    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> Instances:
        """See `semla_ros.modeling.base.PanopticSegmenter.segment_instances`. Both modes are the same."""
        return self.merged(*self.classified(rgb), size or (rgb.shape[0], rgb.shape[1]))

    @torch.inference_mode()
    def merged(self, scores: Tensor, masks: Tensor, size: tuple[int, int]) -> Instances:
        """Merges classified masks, see `classified`, to maps of a size (height, width)."""
        arch = self.network.arch
        labels, confidence = semantic(scores, masks, len(self.classes), size, self._values)
        segments, numbers = panoptic(
            scores, masks, self.things, size, arch.score_threshold, arch.overlap_threshold, self._values
        )
        return Instances(*(each.cpu().numpy() for each in (labels, confidence, numbers, segments)))

    @torch.inference_mode()
    def classified(self, rgb: NDArray[np.uint8], proposals: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classifies masks of an image.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            proposals: Logits of m masks, (m, h, w); by default those of the mask generator.

        Returns:
            Logits of the classes, and of void after them, (m, T or T + 1), and of the adjusted masks (m, h, w); both
            float32.
        """
        image = self.on_device(rgb)
        if proposals is None:
            proposals = self.network.generator(image)[0]
        scores, masks = self.network(self.pixels(rgb), proposals[None].to(self.device, self.dtype), self._text)
        return scores[0].float(), masks[0].float()

    @torch.inference_mode()
    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Returns what CLIP is shown of an image (H, W, 3) uint8: (1, 3, S, S), normalised."""
        return square(normalised(self.on_device(rgb)), self.network.arch.image_size).to(self.dtype)

    @property
    def _values(self) -> int:
        """Number of values of maps at the size of an image that are computed at a time."""
        return self.memory_mib * 2**20 // 16  # float32, and copies while they are compared


def square(pixels: Tensor, side: int) -> Tensor:
    """Stretches images (B, 3, H, W) to squares, bilinearly."""
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)
