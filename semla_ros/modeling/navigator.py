"""The navigator: a CLIP image encoder that says where in embedding space a picture lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from open_clip.transform import image_transform
from PIL import Image
from torch import nn

from semla_ros.modeling.architecture import Architecture


@dataclass(frozen=True)
class NavigatorArch(Architecture):
    """An open_clip image encoder and its preprocessing.

    Attributes:
        embed_dim: Dimension D of embeddings.
        vision: open_clip's ``vision_cfg``.
        quick_gelu: OpenAI's models and ours use QuickGELU.
        resize_mode: open_clip's: "shortest" (then a centre crop), "squash" or "longest".
        mean: Of the normalisation, on 0 to 1.
        std: Likewise.
    """

    embed_dim: int
    vision: Mapping[str, Any] = field(default_factory=dict)
    quick_gelu: bool = True
    resize_mode: str = "shortest"
    mean: tuple[float, ...] = tuple(open_clip.OPENAI_DATASET_MEAN)
    std: tuple[float, ...] = tuple(open_clip.OPENAI_DATASET_STD)

    def build(self) -> nn.Module:
        """The untrained image encoder."""
        text = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
        visual: nn.Module = CLIP(self.embed_dim, dict(self.vision), text, quick_gelu=self.quick_gelu).visual
        return visual


class Navigator:
    """Embeds pictures.

    Args:
        visual: Image encoder: (B, 3, S, S) normalised to (B, D).
        arch: What it was built from.
    """

    def __init__(self, visual: nn.Module, arch: NavigatorArch) -> None:
        self.visual = visual.eval().requires_grad_(False)
        self.arch = arch
        self._preprocess = image_transform(
            arch.vision["image_size"], is_train=False, mean=arch.mean, std=arch.std, resize_mode=arch.resize_mode,
            interpolation="bicubic",
        )  # fmt: skip

    @torch.inference_mode()
    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Unnormalised image embedding: rgb (H, W, 3) uint8 to (D,)."""
        pixels = self._preprocess(Image.fromarray(rgb))[None].to(next(self.visual.parameters()).device)
        embedding: NDArray[np.float64] = self.visual(pixels)[0].double().cpu().numpy()
        return embedding
