"""The official code's faults, for reproducing its numbers (``model.official_compat``)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.base import Mode, PromptTemplates
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.catseg.tiling import Plain, Tiling

NEVER_CALLED = re.compile(r"clip\..*\.attn\.[qkv]_proj")
DIVISOR = 32


class PaddedPlain(Plain):
    """The image, padded with CLIP's mean colour to multiples of `DIVISOR`; the result keeps the padding."""

    def crops(self, pixels: Tensor) -> Tensor:
        """See `Plain.crops`."""
        height, width = pixels.shape[-2:]
        return F.pad(pixels, (0, -width % DIVISOR, 0, -height % DIVISOR))


class OfficialSegmenter(CatSegSegmenter):
    """Segments as SemLA's published code does.

    The text is encoded for the first image and kept, whatever adapters come later. Adapters on the query, key and
    value layers of CLIP do nothing. Odd sizes are padded, see `PaddedPlain`.
    """

    tilings: ClassVar[Mapping[Mode, Tiling]] = {**CatSegSegmenter.tilings, "plain": PaddedPlain()}
    _text_is_kept = False

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Without those that the official forward never calls."""
        return {name: layer for name, layer in super().adapted_layers().items() if not NEVER_CALLED.fullmatch(name)}

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """See `CatSegSegmenter.set_classes`."""
        self._text_is_kept = False
        super().set_classes(classes, prompt_templates)

    def refresh_text(self) -> None:
        """Encodes the classes, unless a image was segmented with them."""
        if not self._text_is_kept:
            super().refresh_text()

    def _logits(self, crops: Tensor) -> Tensor:
        self._text_is_kept = True
        return super()._logits(crops)
