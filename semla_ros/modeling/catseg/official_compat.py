"""The errors of SemLA's published code, to reproduce its published results (``model.official_compat``)."""

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
    """The whole image, padded with CLIP's mean colour to multiples of `DIVISOR`. The padding is not removed again."""

    def crops(self, pixels: Tensor) -> Tensor:
        """See `Tiling.crops`."""
        height, width = pixels.shape[-2:]
        return F.pad(pixels, (0, -width % DIVISOR, 0, -height % DIVISOR))


class OfficialSegmenter(CatSegSegmenter):
    """Segments as SemLA's published code does, which differs from the paper in three points.

    The classes are encoded for the first image; the embeddings are then kept, whatever adapters are fused later.
    Adapters on the query, key and value layers of CLIP have no effect. Images are padded, see `PaddedPlain`.
    """

    tilings: ClassVar[Mapping[Mode, Tiling]] = {**CatSegSegmenter.tilings, "plain": PaddedPlain()}
    _text_is_kept = False

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the layers that adapters change, without those that the published code never calls."""
        return {name: layer for name, layer in super().adapted_layers().items() if not NEVER_CALLED.fullmatch(name)}

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """See `CatSegSegmenter.set_classes`. The embeddings of these classes are kept from the next image on."""
        super().set_classes(classes, prompt_templates)
        self._text_is_kept = False

    def refresh_text(self) -> None:
        """Encodes the classes, unless an image has been segmented with them already."""
        if not self._text_is_kept:
            super().refresh_text()

    def _logits(self, crops: Tensor) -> Tensor:
        self._text_is_kept = True
        return super()._logits(crops)
