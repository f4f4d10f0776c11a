"""Sizes of a FISA network, and what the paper leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from semla_ros.modeling.clip.network import TextSizes
from semla_ros.modeling.clip.sizes import MAX_LAYERS, MAX_SIZE, ClipSizes
from semla_ros.modeling.clip.vision import VisionSizes

MAX_ADAPTER_LAYERS = 16
MAX_GENERATOR_SIDE = 4096  # pixels


@dataclass(frozen=True)
class FisaArch(ClipSizes):
    """Sizes of the mask generator, of CLIP and of SEVE, and the points that the paper does not decide.

    Attributes:
        generator: Configuration of the mask generator: what differs from the defaults of transformers'
            Mask2FormerConfig.
        generator_short: Length that the short side of the image is resized to for the mask generator, pixels.
        generator_long: Longest side of that image, pixels.
        activation: "quick_gelu" (OpenAI's models and ours) or "gelu", in CLIP's image and text encoders.
        logit_scale: Factor of the cosines before the softmax over the classes, CLIP's learned temperature.
        seve_layers: Blocks of the image encoder, counted from 0, in which mask tokens read the classes' text. Open in
            the paper. The usual value is all of them, with one SEVE for all: the paper counts 26 M trained
            parameters, and after the query projections at most 1.3 M are left. Without any, SEVE is off.
        seve_width: Channels of its queries and keys (open; 256, for the same reason).
        seve_heads: Attention heads of SEVE (open; with 4, a head has 64 channels, as CLIP's have).
        seve_residual: Whether a mask token is added to what it reads in equation (3), so that CLIP's own query is
            where training begins (open).
        adapter_layers: Convolutions of the Distribution Adapter (paper: 2 of 0 to 3 are best).
        adapter_channels: Channels between these convolutions (open).
        reads_class_token: Whether a mask token reads the class token besides the patches of its mask (open). If it
            does, the token of a mask over the whole image is CLIP's class token, and that of an empty mask has
            something to read. If not, empty masks read the whole image.
        void: Text that stands for "no object": masks that show none of the classes are trained to resemble it, and it
            is never an answer. Empty: every mask shows one of the classes. The paper names no such class, but its
            merging needs one, and a text adds no trained parameter.
        things: Names of classes that have instances, besides those of COCO and Cityscapes
            (`semla_ros.modeling.fisa.things`).
        stuff: Names of classes that have none, though they may have instances in those data sets.
        score_threshold: Probability of its class from which on a mask becomes a segment, 0 to 1.
        overlap_threshold: Share of a mask that other masks must leave visible, 0 to 1.
    """

    kind: ClassVar[str] = "fisa"
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
    seve_layers: tuple[int, ...]
    generator: Mapping[str, Any] = field(default_factory=dict)
    generator_short: int = 800
    generator_long: int = 1333
    context_length: int = 77
    vocab_size: int = 49408
    activation: str = "quick_gelu"
    logit_scale: float = 100.0
    seve_width: int = 256
    seve_heads: int = 4
    seve_residual: bool = True
    adapter_layers: int = 2
    adapter_channels: int = 8
    reads_class_token: bool = True
    void: str = "nothing"
    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    score_threshold: float = 0.5
    overlap_threshold: float = 0.8

    def __post_init__(self) -> None:
        """Refuses values that make no network.

        Raises:
            BundleError: Names a field, its value and what it must be.
        """
        for each in fields(self):
            if each.type == "int":
                high = MAX_LAYERS if "layers" in each.name else MAX_SIZE
                self._check_number(each.name, int(each.name != "adapter_layers"), high)
            if each.type == "bool" and not isinstance(getattr(self, each.name), bool):
                self.refuse(each.name, "true or false")
        if not isinstance(self.void, str):
            self.refuse("void", "a text")
        for name in ("things", "stuff"):
            listed = getattr(self, name)
            if not isinstance(listed, tuple) or not all(isinstance(text, str) for text in listed):
                self.refuse(name, "a list of class names")
        for name in ("score_threshold", "overlap_threshold"):
            self._check_number(name, 0, 1, float)
        self._check_number("logit_scale", 1, 1000, float)
        layers = self.seve_layers if isinstance(self.seve_layers, tuple) else (None,)
        if not all(type(layer) is int and 0 <= layer < self.vision_layers for layer in layers):
            self.refuse("seve_layers", f"layers from 0 to {self.vision_layers - 1}")
        for name in ("generator_short", "generator_long"):
            self._check_number(name, 1, MAX_GENERATOR_SIDE)
        self.check_clip()
        if self.adapter_layers > MAX_ADAPTER_LAYERS:
            self.refuse("adapter_layers", f"at most {MAX_ADAPTER_LAYERS}")
        self.check_multiple("seve_width", self.seve_heads)
        self.check_multiple("vision_width", self.seve_heads)
        if not isinstance(self.generator, Mapping):
            self.refuse("generator", "a mapping")
        if self.activation not in ("quick_gelu", "gelu"):
            self.refuse("activation", "quick_gelu or gelu")

    def _check_number(self, name: str, low: int, high: int, kind: type = int) -> None:
        value = getattr(self, name)
        if type(value) not in (int, kind) or not low <= value <= high:
            self.refuse(name, f"a {'whole number' if kind is int else 'number'} from {low} to {high}")

    @property
    def vision(self) -> VisionSizes:
        """Sizes of CLIP's image encoder, whose position embedding is resized bilinearly."""
        return replace(super().vision, activation=self.activation, position_resize="bilinear")

    @property
    def text(self) -> TextSizes:
        """Sizes of CLIP's text encoder."""
        return replace(super().text, activation=self.activation)


SWIN_B = {  # the backbone of the paper's mask generator
    "model_type": "swin", "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12,
    "image_size": 384, "drop_path_rate": 0.3, "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip

VIT_L14 = FisaArch(
    image_size=896, patch_size=14, position_grid=24, embed_dim=768,
    vision_width=1024, vision_layers=24, vision_heads=16, text_width=768, text_layers=12, text_heads=12,
    seve_layers=tuple(range(24)), generator={"backbone_config": SWIN_B},
)  # fmt: skip
