"""A FISA bundle small enough for tests: random networks with seeded weights."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tiny import CLASSES, image, randomise, write_bundle_of

from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.segmenter import FisaSegmenter

GENERATOR = {
    "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 32,
    "encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "dim_feedforward": 32, "num_queries": 6,
    "backbone_config": {
        "model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    },
}  # fmt: skip
ARCH = FisaArch(
    image_size=32, patch_size=8, position_grid=2, embed_dim=16, vision_width=16, vision_layers=3, vision_heads=2,
    text_width=16, text_layers=2, text_heads=2, context_length=16, seve_layers=(0, 1, 2), seve_width=8, seve_heads=2,
    generator=GENERATOR, generator_short=64, generator_long=128, adapter_channels=4, logit_scale=80.0,
    things=("sky", "car"),
)  # fmt: skip


def random_fisa(arch: FisaArch = ARCH, seed: int = 2) -> Fisa:
    """A FISA whose every parameter is random, those that start at zero included. Its masks differ in place and class.

    Random mask tokens are nearly parallel, so that what they have in common is taken out of the projection.
    """
    network = Fisa(arch).eval().requires_grad_(False)
    randomise(network, seed)
    network.generator.model.transformer_module.queries_features.weight.mul_(20)
    if arch.adapter_layers:
        last = network.distribution.convolutions[-1]
        last.weight.mul_(0.2)
        last.bias.fill_(-3)
    segmenter, rgb = FisaSegmenter(network, CLASSES), two_halves()
    projection, tokens = network.clip.visual.proj, []
    with patch.object(network.clip.visual.ln_post, "forward", lambda x: tokens.append(x) or x):
        segmenter.classified(rgb)
    common = F.layer_norm(tokens[0][0], (arch.vision_width,)).mean(0)
    network.clip.visual.ln_post.reset_parameters()
    projection.sub_(torch.outer(common, common @ projection) / common.dot(common))
    return network


def two_halves() -> NDArray[np.uint8]:
    """An image (64, 96, 3) uint8 that is red on the left and blue on the right."""
    return np.concatenate([image("red", height=64, width=48), image("blue", height=64, width=48)], 1)


def write_fisa_bundle(path: Path) -> Path:
    """Writes a bundle with three adapters."""
    return write_bundle_of(random_fisa(), ARCH, path)
