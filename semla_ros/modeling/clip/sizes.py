"""The sizes of CLIP in the architecture of a segmenter."""

from __future__ import annotations

from semla_ros.errors import BundleError
from semla_ros.modeling.base import Architecture
from semla_ros.modeling.clip.network import TextSizes
from semla_ros.modeling.clip.tokenizer import MIN_CONTEXT, TOKENS
from semla_ros.modeling.clip.vision import VisionSizes

MAX_LAYERS, MAX_SIZE, MAX_GRID = 200, 1_000_000, 128


class ClipSizes(Architecture):
    """Base class of architectures that contain CLIP.

    Attributes:
        image_size: Side of the square image that CLIP's image encoder receives, pixels.
        patch_size: Side of a patch, pixels. The token grid has ``image_size // patch_size`` patches per side.
        position_grid: Side of the token grid that the position embedding was trained with; the embedding is resized to
            the present grid.
        embed_dim: Dimension D of CLIP's joint space of image and text.
        vision_width: Channels of the image encoder's tokens.
        vision_layers: Number of blocks of the image encoder.
        vision_heads: Attention heads per block of the image encoder.
        text_width: Channels of the text encoder's tokens.
        text_layers: Number of blocks of the text encoder.
        text_heads: Attention heads per block of the text encoder.
        context_length: Tokens per prompt, padding included.
        vocab_size: Number of different tokens.
    """

    image_size: int
    patch_size: int
    position_grid: int
    embed_dim: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    text_width: int
    text_layers: int
    text_heads: int
    context_length: int
    vocab_size: int

    @property
    def grid(self) -> int:
        """Side of the token grid: number of patches per image side."""
        return self.image_size // self.patch_size

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

    def check_clip(self) -> None:
        """Refuses sizes that make no CLIP.

        Raises:
            BundleError: Names a size, its value and what it must be.
        """
        if not 1 <= self.grid <= MAX_GRID:
            self.refuse("grid", f"1 to {MAX_GRID} patches per side: image_size divided by patch_size")
        self.check_multiple("vision_width", self.vision_heads)
        self.check_multiple("text_width", self.text_heads)
        if self.vocab_size != TOKENS:
            self.refuse("vocab_size", f"{TOKENS}, the tokens of CLIP's tokenizer")
        if self.context_length < MIN_CONTEXT:
            self.refuse("context_length", f"at least {MIN_CONTEXT}")

    def check_multiple(self, name: str, divisor: int) -> None:
        """Refuses a size that is no multiple of a number.

        Raises:
            BundleError: Names the size, its value and what it must be.
        """
        if getattr(self, name) % divisor:
            self.refuse(name, f"a multiple of {divisor}")

    def refuse(self, name: str, expected: str) -> None:
        """Refuses the value of a size.

        Raises:
            BundleError: Always.
        """
        raise BundleError("sizes that make no network", where=name, got=repr(getattr(self, name)), expected=expected)
