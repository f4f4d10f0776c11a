"""Sizes of a CAT-Seg network. The published models and the bundled one are three values of `CatSegArch`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

from semla_ros.errors import BundleError
from semla_ros.modeling.base import Architecture
from semla_ros.modeling.clip.network import TextSizes
from semla_ros.modeling.clip.vision import VisionSizes

MAX_LAYERS, MAX_SIZE = 200, 1_000_000
MAX_GRID, MAX_WINDOW = 128, 32  # the mask of shifted windows has (grid * window) ** 2 entries


@dataclass(frozen=True)
class CatSegArch(Architecture):
    """Sizes of CLIP and of the cost aggregation (CAT-Seg, Table 1 and its configuration files).

    Attributes:
        image_size: Side of the square image that CLIP's image encoder receives, pixels.
        patch_size: Side of a patch, pixels. The token grid has ``image_size // patch_size`` patches per side.
        position_grid: Side of the token grid that the position embedding was trained with; the embedding is resized to
            the present grid.
        embed_dim: Dimension D of CLIP's joint space of image and text.
        vision_width: Channels of the image encoder's tokens.
        vision_layers: Number of blocks of the image encoder.
        vision_heads: Attention heads per block of the image encoder.
        guidance_layers: Two blocks of the image encoder, counted from 0, whose outputs guide the decoder.
        text_width: Channels of the text encoder's tokens.
        text_layers: Number of blocks of the text encoder.
        text_heads: Attention heads per block of the text encoder.
        context_length: Tokens per prompt, padding included.
        vocab_size: Number of different tokens.
        aggregator_dim: Channels C of the cost volume: one vector per patch and class.
        aggregator_layers: Number of aggregator layers, each with spatial attention followed by class attention.
        aggregator_heads: Attention heads in an aggregator layer.
        window: Side of the windows of spatial attention, tokens.
        guidance_dim: Channels of the image features that guide spatial attention.
        text_guidance_dim: Channels of the text embeddings that guide class attention.
        decoder_dims: Output channels of the two decoder stages.
        decoder_guidance_dims: Channels of CLIP's enlarged features for the two decoder stages, before projection.
        decoder_projection_dims: Channels of the same features after projection, as the decoder stages receive them.
        padded_classes: Number of classes that class attention is padded to, as the published networks were trained
            with it. A learned padding token stands for each missing class.
        pooling: Side of the average pooling before class attention, tokens; 1 means no pooling.
        upsampling: Factor of `semla_ros.modeling.catseg.upsampling.GuidedUpsampling` after the decoder; 1 means none,
            as in the published networks.
        upsampling_dim: Channels of the guided upsampling.
    """

    kind: ClassVar[str] = "catseg"
    image_size: int
    patch_size: int
    position_grid: int
    embed_dim: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    guidance_layers: tuple[int, int]
    text_width: int
    text_layers: int
    text_heads: int
    context_length: int = 77
    vocab_size: int = 49408
    aggregator_dim: int = 128
    aggregator_layers: int = 2
    aggregator_heads: int = 4
    window: int = 12
    guidance_dim: int = 128
    text_guidance_dim: int = 128
    decoder_dims: tuple[int, int] = (64, 32)
    decoder_guidance_dims: tuple[int, int] = (256, 128)
    decoder_projection_dims: tuple[int, int] = (32, 16)
    padded_classes: int = 256
    pooling: int = 1
    upsampling: int = 1
    upsampling_dim: int = 16

    def __post_init__(self) -> None:
        """Refuses sizes that make no network.

        Raises:
            BundleError: Names a size, its value and what it must be.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            low, high = int(each.name != "guidance_layers"), MAX_LAYERS if "layers" in each.name else MAX_SIZE
            pair, numbers = each.type != "int", value if isinstance(value, tuple) else (value,)
            fits = isinstance(value, tuple) is pair and len(numbers) == 1 + pair
            if not fits or not all(type(number) is int and low <= number <= high for number in numbers):
                self._refuse(each.name, f"{'two whole numbers' if pair else 'a whole number'} from {low} to {high}")
        if not 1 <= self.grid <= MAX_GRID:
            self._refuse("grid", f"1 to {MAX_GRID} patches per side: image_size divided by patch_size")
        if self.window > MAX_WINDOW:
            self._refuse("window", f"at most {MAX_WINDOW}")
        for size, divisor in (
            ("vision_width", self.vision_heads), ("text_width", self.text_heads),
            ("aggregator_dim", self.aggregator_heads), ("grid", min(self.window, self.grid)),
        ):  # fmt: skip
            if getattr(self, size) % divisor:
                self._refuse(size, f"a multiple of {divisor}")
        if any(dim % 16 for dim in self.decoder_dims):
            self._refuse("decoder_dims", "multiples of 16")
        if not self.guidance_layers[0] < self.guidance_layers[1] < self.vision_layers - 1:
            self._refuse("guidance_layers", f"two layers in order, below {self.vision_layers - 1}")
        if self.pooling > self.grid:
            self._refuse("pooling", f"at most {self.grid}, the side of the token grid")
        if self.upsampling > 1 and self.patch_size % (4 * self.upsampling):
            self._refuse("upsampling", "1, or a quarter of patch_size divided by a whole number")

    def _refuse(self, name: str, expected: str) -> None:
        raise BundleError("sizes that make no network", where=name, got=repr(getattr(self, name)), expected=expected)

    @property
    def grid(self) -> int:
        """Side of the token grid: number of patches per image side."""
        return self.image_size // self.patch_size

    @property
    def out_grid(self) -> int:
        """Side of the logits."""
        return 4 * self.grid * self.upsampling

    @property
    def vision(self) -> VisionSizes:
        """Sizes of CLIP's image encoder."""
        return VisionSizes(
            self.image_size, self.patch_size, self.position_grid, self.embed_dim, self.vision_width,
            self.vision_layers, self.vision_heads,
        )  # fmt: skip

    @property
    def text(self) -> TextSizes:
        """Sizes of CLIP's text encoder."""
        return TextSizes(self.text_width, self.text_layers, self.text_heads, self.context_length, self.vocab_size)


VIT_B16 = CatSegArch(
    image_size=384, patch_size=16, position_grid=14, embed_dim=512,
    vision_width=768, vision_layers=12, vision_heads=12, guidance_layers=(3, 7),
    text_width=512, text_layers=12, text_heads=8,
)  # fmt: skip

VIT_L14_336 = CatSegArch(
    image_size=336, patch_size=14, position_grid=24, embed_dim=768,
    vision_width=1024, vision_layers=24, vision_heads=16, guidance_layers=(7, 15),
    text_width=768, text_layers=12, text_heads=12,
)  # fmt: skip

STREETWORLD = CatSegArch(
    image_size=256, patch_size=16, position_grid=8, embed_dim=128,
    vision_width=192, vision_layers=6, vision_heads=6, guidance_layers=(1, 3),
    text_width=64, text_layers=3, text_heads=2, context_length=32,
    aggregator_dim=32, aggregator_layers=2, aggregator_heads=4, window=8,
    guidance_dim=32, text_guidance_dim=32,
    decoder_dims=(32, 16), decoder_guidance_dims=(64, 48), decoder_projection_dims=(16, 16),
    padded_classes=32,
)  # fmt: skip

# Attention heads have the published dimensions (64 in CLIP, 32 in the aggregator), which trains half as fast again.
STREETWORLD_DETAILED = replace(STREETWORLD, upsampling=2, vision_heads=3, aggregator_heads=1)
