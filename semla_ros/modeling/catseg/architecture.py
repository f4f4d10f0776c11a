"""Sizes of a CAT-Seg network. The published models and the bundled one are three values of `CatSegArch`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from semla_ros.modeling.clip.sizes import MAX_LAYERS, MAX_SIZE, ClipSizes

MAX_MASK_SIDE = 1024  # grid times window: each layer has a mask of its square, 4 MiB; published networks have 288


@dataclass(frozen=True)
class CatSegArch(ClipSizes):
    """Sizes of CLIP, see `ClipSizes`, and of the cost aggregation (CAT-Seg, Table 1 and its configuration files).

    Attributes:
        guidance_layers: Two blocks of the image encoder, counted from 0, whose outputs guide the decoder.
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
                self.refuse(each.name, f"{'two whole numbers' if pair else 'a whole number'} from {low} to {high}")
        self.check_clip()
        if self.grid * min(self.window, self.grid) > MAX_MASK_SIDE:
            self.refuse("window", f"at most {MAX_MASK_SIDE // self.grid} for {self.grid} patches per side")
        self.check_multiple("aggregator_dim", self.aggregator_heads)
        self.check_multiple("grid", min(self.window, self.grid))
        if any(dim % 16 for dim in self.decoder_dims):
            self.refuse("decoder_dims", "multiples of 16")
        if not self.guidance_layers[0] < self.guidance_layers[1] < self.vision_layers - 1:
            self.refuse("guidance_layers", f"two layers in order, below {self.vision_layers - 1}")
        if self.pooling > self.grid:
            self.refuse("pooling", f"at most {self.grid}, the side of the token grid")
        if self.upsampling > 1 and self.patch_size % (4 * self.upsampling):
            self.refuse("upsampling", "1, or a quarter of patch_size divided by a whole number")

    @property
    def out_grid(self) -> int:
        """Side of the logits."""
        return 4 * self.grid * self.upsampling


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

# The heads of the aggregator have 32 channels, as in the published networks; narrower ones train more slowly.
STREETWORLD = CatSegArch(
    image_size=256, patch_size=16, position_grid=8, embed_dim=128,
    vision_width=192, vision_layers=6, vision_heads=6, guidance_layers=(1, 3),
    text_width=64, text_layers=3, text_heads=2, context_length=32,
    aggregator_dim=32, aggregator_layers=2, aggregator_heads=1, window=8,
    guidance_dim=32, text_guidance_dim=32,
    decoder_dims=(32, 16), decoder_guidance_dims=(64, 48), decoder_projection_dims=(16, 16),
    padded_classes=32, upsampling=2,
)  # fmt: skip
