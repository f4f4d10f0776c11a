"""The network of CAT-Seg (CVPR 2024): CLIP, cost aggregation and decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.base import linear_layers
from semla_ros.modeling.catseg.aggregator import AggregatorLayer, in_parts
from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.decoder import Up
from semla_ros.modeling.catseg.upsampling import GuidedUpsampling
from semla_ros.modeling.clip.network import Clip


class ImageFeatures(NamedTuple):
    """What CLIP sees in B images.

    Attributes:
        dense: Features per patch in CLIP's joint space, (B, D, H, W). H and W are the sides of the token grid.
        guidance: Features that guide the two decoder stages, (B, G1, 2H, 2W) and (B, G2, 4H, 4W).
    """

    dense: Tensor
    guidance: list[Tensor]


def cost_volume(dense: Tensor, text: Tensor) -> Tensor:
    """Cosine similarity of each patch and class (CAT-Seg, equation 1).

    Args:
        dense: See `ImageFeatures`.
        text: Text embeddings of the classes, (T, D), L2-normalised.

    Returns:
        (B, T, H, W), -1 to 1.
    """
    return torch.einsum("bdhw,td->bthw", F.normalize(dense, dim=1), text)


NEVER = -100.0  # logit of a class that is left out of the aggregation: its probability, sigmoid(-100), is practically 0


class Aggregator(nn.Module):
    """Computes logits from the cosine similarity of every patch and class, the cost volume (CAT-Seg, section 3).

    Args:
        arch: Sizes.
    """

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        dim, (decoder1, decoder2) = arch.aggregator_dim, arch.decoder_dims
        projections = arch.decoder_projection_dims
        self.arch = arch
        self.conv1 = nn.Conv2d(1, dim, 7, padding=3)
        self.guidance_projection = nn.Sequential(nn.Conv2d(arch.embed_dim, arch.guidance_dim, 3, padding=1), nn.ReLU())
        self.text_guidance_projection = nn.Sequential(nn.Linear(arch.embed_dim, arch.text_guidance_dim), nn.ReLU())
        self.layers = nn.ModuleList(AggregatorLayer(arch) for _ in range(arch.aggregator_layers))
        self.decoder_guidance_projection = nn.ModuleList(
            nn.Sequential(nn.Conv2d(wide, narrow, 3, padding=1), nn.ReLU())
            for wide, narrow in zip(arch.decoder_guidance_dims, projections, strict=True)
        )
        self.decoder1 = Up(dim, decoder1, projections[0])
        self.decoder2 = Up(decoder1, decoder2, projections[1])
        self.head = nn.Conv2d(decoder2, 1, 3, padding=1)

    def forward(self, dense: Tensor, guidance: list[Tensor], text: Tensor) -> Tensor:
        """Computes the logits of B images for T classes, with D dimensions of CLIP's joint space.

        Args:
            dense: See `ImageFeatures`.
            guidance: See `ImageFeatures`.
            text: Text embeddings of the classes, (T, D), L2-normalised.

        Returns:
            Logits (B, T, 4H, 4W).
        """
        similarity = cost_volume(dense, text)
        x = self.conv1(similarity.flatten(0, 1)[:, None])  # (B·T, C, H, W)
        x = x.permute(0, 2, 3, 1).unflatten(0, similarity.shape[:2])  # (B, T, H, W, C)
        appearance = self.guidance_projection(dense).permute(0, 2, 3, 1)[:, None]
        text_guidance = self.text_guidance_projection(text)
        for layer in self.layers:
            x = layer(x, appearance, text_guidance)
        return self._decode(x, guidance)

    def _decode(self, x: Tensor, guidance: list[Tensor]) -> Tensor:
        """Cost volume (B, T, H, W, C) to logits (B, T, 4H, 4W), in parts of the classes."""
        stages = self.decoder1, self.decoder2
        projected = (proj(g) for proj, g in zip(self.decoder_guidance_projection, guidance, strict=True))
        first, second = (stage.class_independent(g) for stage, g in zip(stages, projected, strict=True))

        def decode(part: Tensor) -> Tensor:
            maps = part.flatten(0, 1).permute(0, 3, 1, 2)
            logits: Tensor = self.head(self.decoder2(self.decoder1(maps, *first), *second))
            return logits.view(*part.shape[:2], *logits.shape[2:])

        return in_parts(decode, x, dim=1)


class CatSeg(nn.Module):
    """CAT-Seg: CLIP, the aggregator, and two layers that enlarge the features which guide the decoder.

    Args:
        arch: Sizes.
    """

    def __init__(self, arch: CatSegArch) -> None:
        super().__init__()
        self.arch = arch
        self.clip = Clip(arch.vision, arch.text, arch.guidance_layers)
        self.aggregator = Aggregator(arch)
        self.upsample1 = nn.ConvTranspose2d(arch.vision_width, arch.decoder_guidance_dims[0], 2, 2)
        self.upsample2 = nn.ConvTranspose2d(arch.vision_width, arch.decoder_guidance_dims[1], 4, 4)
        self.upsampling = GuidedUpsampling(arch) if arch.upsampling > 1 else None

    def forward(self, pixels: Tensor, text: Tensor) -> Tensor:
        """Segments images into any number of classes.

        Args:
            pixels: Images (B, 3, image_size, image_size), normalised by CLIP's mean and standard deviation.
            text: Text embeddings of the classes, (T, embed_dim), L2-normalised.

        Returns:
            Logits (B, T, out_grid, out_grid). If there are more than ``padded_classes`` classes, only those that are
            most similar to some patch of the image are aggregated; the others get -100.
        """
        return self.logits(pixels, self.image_features(pixels), text)

    def image_features(self, pixels: Tensor) -> ImageFeatures:
        """Computes the part of `forward` that does not depend on the classes."""
        dense, (early, late) = self.clip.visual(pixels)  # early and late: outputs of the two guidance_layers
        guidance = [self.upsample1(self._maps(early)), self.upsample2(self._maps(late))]
        return ImageFeatures(self._maps(dense[:, 1:]), guidance)  # without the class token

    def logits(self, pixels: Tensor, features: ImageFeatures, text: Tensor) -> Tensor:
        """Computes the part of `forward` that depends on the classes."""
        logits = self._aggregated(*features, text)
        return self.upsampling(logits, pixels, features.guidance[1]) if self.upsampling else logits

    def _aggregated(self, dense: Tensor, guidance: list[Tensor], text: Tensor) -> Tensor:
        """Logits (B, T, 4 grid, 4 grid); see `forward`."""
        if len(text) <= self.arch.padded_classes:
            logits: Tensor = self.aggregator(dense, guidance, text)
            return logits
        kept = cost_volume(dense, text).flatten(2).amax(-1).topk(self.arch.padded_classes, sorted=False).indices
        few = [self.aggregator(dense[i : i + 1], [g[i : i + 1] for g in guidance], text[k]) for i, k in enumerate(kept)]
        side = 4 * self.arch.grid
        logits = dense.new_full((len(dense), len(text), side, side), NEVER)
        for i, k in enumerate(kept):
            logits[i, k] = few[i][0]
        return logits

    def activation_bytes(self, classes: int) -> int:
        """Estimates the memory for the activations of one image, bytes.

        Args:
            classes: Number of classes.

        Returns:
            Sum of the widest tokens of the image encoder, the guidance and the cost volume.
        """
        arch, positions = self.arch, self.arch.grid**2
        tokens = 12 * arch.vision_width + 4 * arch.decoder_guidance_dims[0] + 16 * arch.decoder_guidance_dims[1]
        volume = min(classes, arch.padded_classes) * (4 * arch.aggregator_dim + 2 * 16)
        fine = 16 * arch.upsampling**2 * 4 * arch.upsampling_dim if self.upsampling else 0
        return positions * (tokens + volume + fine) * self.upsample1.weight.element_size()

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the linear layers that have an effect on the output, by module name.

        The last block of the image encoder does not mix tokens, so that its query and key layers have no effect.
        """
        last = f"clip.visual.transformer.resblocks.{self.arch.vision_layers - 1}.attn."
        idle = {last + "q_proj", last + "k_proj"}
        return {name: layer for name, layer in linear_layers(self).items() if name not in idle}

    def _maps(self, tokens: Tensor) -> Tensor:
        """Patch tokens (B, H·W, C) to feature maps (B, C, H, W)."""
        maps: Tensor = tokens.transpose(1, 2).unflatten(2, (self.arch.grid, self.arch.grid))
        return maps
