"""CLIP's image encoder with one token per mask, which only reads: image tokens are those of plain CLIP."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.modeling.clip.transformer import ResidualAttentionBlock
from semla_ros.modeling.clip.vision import VisionTransformer
from semla_ros.modeling.fisa.seve import Seve


def visible_tokens(masks: Tensor, grid: int, reads_class_token: bool) -> Tensor:
    """Which image tokens each mask token attends to: M_mask of equation (5), true where it is 0.

    Args:
        masks: Logits of the masks, (B, m, h, w).
        grid: Side of the token grid.
        reads_class_token: Whether it reads the class token besides the patches of its mask. If not, a mask without
            any patch reads all of them.

    Returns:
        (B, m, 1 + grid²) bool, or (B, m, grid²) without the class token.
    """
    # (5) M_mask(i, j) = 0 where mask i holds any pixel of patch j, -∞ elsewhere
    patches = F.adaptive_max_pool2d((masks > 0).float(), grid).flatten(2) > 0
    if reads_class_token:
        return torch.cat([torch.ones_like(patches[..., :1]), patches], -1)
    return patches | ~patches.any(-1, keepdim=True)


def mask_tokens(
    visual: VisionTransformer, pixels: Tensor, visible: Tensor, seve: Seve, layers: Collection[int], text: Tensor
) -> Tensor:
    """Computes the mask tokens of images. Image tokens are computed once, whatever the number of masks.

    Args:
        visual: CLIP's image encoder.
        pixels: Normalised images (B, 3, image_size, image_size).
        visible: From `visible_tokens`, for m masks.
        seve: Lets mask tokens read the classes.
        layers: Blocks of the image encoder, counted from 0, in which they do.
        text: Text embeddings of the classes, (T, D): the tokens [TGT].

    Returns:
        Mask tokens after the last block, (B, m, C).
    """
    image = visual.tokens(pixels)  # [IMG] (B, 1 + n, C): the class token and n patches
    mask = image[:, :1].expand(-1, visible.shape[1], -1)  # [MASK] (B, m, C): each starts as the class token
    classes = seve.class_tokens(text) if layers else ()
    hidden = image.shape[1] - visible.shape[2]  # 1 if mask tokens do not read the class token
    blocks = cast("list[ResidualAttentionBlock]", list(visual.transformer.resblocks))
    for index, block in enumerate(blocks):
        # Image tokens attend to each other as in CLIP; keys and values serve both kinds of tokens.
        normed = block.ln_1(image)
        key, value = block.attn.key_value(normed)  # (2) k_img, v_img = f_k([IMG]), f_v([IMG])
        # Mask tokens read the classes, then the patches of their masks.
        read = block.ln_1(mask)
        if index in layers:
            read = seve(read, *classes)  # (3), (4)
        query = block.attn.query(read)  # (2) q̂_mask = f_q([MASK]^)
        seen = block.attn.mix(query, key[:, :, hidden:], value[:, :, hidden:], visible[:, None])  # (1) σ(q̂ kᵀ + M) v
        mask = block.after_attention(mask, seen)
        if index < len(blocks) - 1:  # nobody reads the image tokens after that
            image = block.after_attention(image, block.attn.mix(block.attn.query(normed), key, value))
    return mask
