"""The navigator: a CLIP image encoder that says where in embedding space an image lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from open_clip.transform import image_transform
from PIL import Image
from torch import Tensor, nn

from semla_ros.errors import BundleError
from semla_ros.modeling.base import Architecture, NavigatorKind

HEAD_WIDTH = 64  # of every CLIP that OpenAI published


@dataclass(frozen=True)
class ClipNavigatorArch(Architecture):
    """An open_clip image encoder and its preprocessing.

    Attributes:
        embed_dim: Dimension D of embeddings.
        vision: open_clip's ``vision_cfg``.
        quick_gelu: OpenAI's models and ours use QuickGELU.
        resize_mode: open_clip's: "shortest" (then a centre crop), "squash" or "longest".
        mean: Of the normalisation, on 0 to 1.
        std: Likewise.
    """

    kind: ClassVar[str] = "clip"
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


class ClipNavigator:
    """Embeds images.

    Args:
        network: Image encoder: (B, 3, S, S) normalised to (B, D).
        arch: What it was built from.
    """

    def __init__(self, network: nn.Module, arch: ClipNavigatorArch) -> None:
        self.network = network.eval().requires_grad_(False)
        self.arch = arch
        self._preprocess = image_transform(
            arch.vision["image_size"], is_train=False, mean=arch.mean, std=arch.std, resize_mode=arch.resize_mode,
            interpolation="bicubic",
        )  # fmt: skip

    @property
    def embed_dim(self) -> int:
        """Dimension D of the embeddings."""
        return self.arch.embed_dim

    @torch.inference_mode()
    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Unnormalised image embedding: rgb (H, W, 3) uint8 to (D,)."""
        pixels = self._preprocess(Image.fromarray(rgb))[None].to(next(self.network.parameters()).device)
        embedding: NDArray[np.float64] = self.network(pixels)[0].double().cpu().numpy()
        return embedding


def from_published(state: Mapping[str, Tensor], where: object) -> tuple[ClipNavigatorArch, dict[str, Tensor]]:
    """The image encoder of a CLIP's state dict, its sizes read off the shapes.

    Args:
        state: Tensors of a CLIP, with or without its text encoder.
        where: File or model it came from, for messages.

    Returns:
        The architecture and the state dict of the image encoder.

    Raises:
        BundleError: It holds no CLIP vision transformer.
    """
    visual = {key.removeprefix("visual."): value.float() for key, value in state.items() if key.startswith("visual.")}
    if not {"conv1.weight", "positional_embedding", "proj"} <= visual.keys():
        raise BundleError(
            "no CLIP vision transformer", where=where, got=sorted(state)[:3], expected="visual.conv1.weight, ..."
        )
    width, _, patch, _ = visual["conv1.weight"].shape
    grid = round((len(visual["positional_embedding"]) - 1) ** 0.5)
    layers = len({key.split(".")[2] for key in visual if key.startswith("transformer.resblocks.")})
    vision = {
        "image_size": grid * patch,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "head_width": HEAD_WIDTH,
    }
    arch = ClipNavigatorArch(visual["proj"].shape[1], vision)
    return arch, visual


KIND = NavigatorKind(
    architecture=ClipNavigatorArch,
    network=ClipNavigatorArch.build,
    navigator=ClipNavigator,
    from_published=from_published,
)
