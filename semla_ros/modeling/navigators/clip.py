"""The CLIP navigator: an image encoder whose embeddings tell domains apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.base import Architecture, NavigatorKind
from semla_ros.modeling.clip.published import image_encoder
from semla_ros.modeling.clip.transformer import ACTIVATIONS
from semla_ros.modeling.clip.vision import VisionSizes, VisionTransformer

RESIZE_MODES = "shortest", "squash"
LONGEST = 16  # times the shorter side: of a longer image only the middle is resized, else 3000 x 1 pixels take 600 MB


@dataclass(frozen=True)
class ClipNavigatorArch(Architecture):
    """Sizes of a CLIP image encoder, and its preprocessing.

    Attributes:
        embed_dim: Dimension D of the embeddings.
        image_size: Side of the square input, pixels.
        patch_size: Side of a patch, pixels.
        width: Width of the tokens.
        layers: Number of transformer blocks.
        heads: Attention heads per block; they divide the width.
        activation: "quick_gelu" (OpenAI's models and ours) or "gelu".
        resize_mode: "shortest" resizes the shorter side to ``image_size`` and cuts out the centre; "squash" resizes
            both sides.
        mean: Mean that pixels are normalised by, per channel, for pixel values of 0 to 1. OpenAI's by default.
        std: Standard deviation, likewise.

    Raises:
        BundleError: A value is not one of those named here, the heads do not divide the width, or the normalisation
            is no three numbers.
    """

    kind: ClassVar[str] = "clip"
    embed_dim: int
    image_size: int
    patch_size: int
    width: int
    layers: int
    heads: int
    activation: str = "quick_gelu"
    resize_mode: str = "shortest"
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        for field, known in (("activation", ACTIVATIONS), ("resize_mode", RESIZE_MODES)):
            if getattr(self, field) not in known:
                where, got = f"navigator.{field}", getattr(self, field)
                raise BundleError(f"unknown {field}", where=where, got=got, expected=" or ".join(known))
        for field, least in (("mean", -np.inf), ("std", 0.0)):
            numbers = getattr(self, field)
            if not _is_triple(numbers, least):
                expected = f"three numbers{' above 0' if least == 0 else ''}: red, green, blue"
                raise BundleError(
                    f"impossible {field}", where=f"navigator.{field}", got=repr(numbers), expected=expected
                )
        if self.heads < 1 or self.width % self.heads:
            raise BundleError(
                "attention heads do not divide the width", where="navigator.heads", got=self.heads,
                expected=f"a divisor of {self.width}",
            )  # fmt: skip

    def build(self) -> VisionTransformer:
        """Returns the image encoder, untrained."""
        sizes = VisionSizes(
            self.image_size, self.patch_size, self.image_size // self.patch_size, self.embed_dim, self.width,
            self.layers, self.heads, self.activation,
        )  # fmt: skip
        return VisionTransformer(sizes)


class ClipNavigator:
    """Embeds images.

    Args:
        network: Image encoder built by ``arch.build()``, with its weights.
        arch: Its sizes and preprocessing.
    """

    def __init__(self, network: VisionTransformer, arch: ClipNavigatorArch) -> None:
        self.network = network.eval().requires_grad_(False)
        self.arch = arch

    @property
    def embed_dim(self) -> int:
        """Dimension D of the embeddings."""
        return self.arch.embed_dim

    @torch.inference_mode()
    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the unnormalised embedding (D,) of an image (H, W, 3) uint8, RGB."""
        pixels = self.pixels(rgb)[None].to(self.network.proj.device)
        embedding: NDArray[np.float64] = self.network(pixels)[0].double().cpu().numpy()
        return embedding

    def pixels(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Preprocesses an image as open_clip does: (H, W, 3) uint8, RGB, to normalised (3, S, S) float32."""
        resize = squashed if self.arch.resize_mode == "squash" else centre
        square = np.array(resize(Image.fromarray(rgb), self.arch.image_size))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (self.arch.mean, self.arch.std))
        return (torch.from_numpy(square).permute(2, 0, 1) / 255 - mean) / std


def _is_triple(numbers: object, least: float) -> bool:
    """Whether these are three finite numbers above ``least``."""
    if not isinstance(numbers, tuple) or len(numbers) != 3:
        return False
    return all(type(each) in (int, float) and np.isfinite(each) and each > least for each in numbers)


def squashed(image: Image.Image, side: int) -> Image.Image:
    """The whole image as a square, its sides resized apart; bicubic with antialiasing."""
    return image.resize((side, side), Image.Resampling.BICUBIC)


def centre(image: Image.Image, side: int) -> Image.Image:
    """The central square of the image, resized so that its shorter side fits; bicubic with antialiasing."""
    shorter = min(image.size)
    image = _middle(image, *(min(each, LONGEST * shorter) for each in image.size))
    size = [side if each == shorter else side * each // shorter for each in image.size]
    return _middle(image.resize((size[0], size[1]), Image.Resampling.BICUBIC), side, side)


def _middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def from_published(
    state: Mapping[str, Tensor], source: str, model: str = ""
) -> tuple[ClipNavigatorArch, dict[str, Tensor]]:
    """Makes a navigator of a published CLIP; arguments and errors as in `image_encoder`.

    Returns:
        The architecture and the state dict of its network.
    """
    fields, ours = image_encoder(state, source, model)
    return ClipNavigatorArch.from_dict(fields), ours


KIND = NavigatorKind(
    architecture=ClipNavigatorArch,
    network=ClipNavigatorArch.build,
    navigator=ClipNavigator,
    from_published=from_published,
)
