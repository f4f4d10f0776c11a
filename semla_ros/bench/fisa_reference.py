"""The straightforward computation of FISA's mask tokens: all tokens in one attention, with a large mask."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.modeling.clip.transformer import ResidualAttentionBlock
from semla_ros.modeling.fisa.mask_tokens import visible_tokens
from semla_ros.modeling.fisa.network import Fisa


def reference_scores(network: Fisa, pixels: Tensor, proposals: Tensor, text: Tensor) -> Tensor:
    """Computes the logits of the classes as `Fisa.forward` does.

    Args:
        network: A network whose mask tokens read the class token.
        pixels: One normalised image (1, 3, image_size, image_size).
        proposals: Logits of m masks, (1, m, h, w).
        text: Text embeddings, (T or T + 1, embed_dim).

    Returns:
        (1, m, T or T + 1).
    """
    arch, visual = network.arch, network.clip.visual
    visible = visible_tokens(network.distribution(proposals), arch.grid, reads_class_token=True)
    masks, images = visible.shape[1:]
    # Image tokens attend to all image tokens, mask tokens to those of their masks; nobody attends to mask tokens.
    allowed = torch.zeros(images + masks, images + masks, dtype=torch.bool, device=pixels.device)
    allowed[:images, :images], allowed[images:, :images] = True, visible[0]
    x = visual.tokens(pixels)
    x = torch.cat([x, x[:, :1].expand(-1, masks, -1)], 1)
    for index, block in enumerate(cast("list[ResidualAttentionBlock]", list(visual.transformer.resblocks))):
        normed = block.ln_1(x)
        queries = normed
        if index in arch.seve_layers:
            targets = network.seve.class_tokens(text[:-1] if arch.void else text)
            queries = torch.cat([normed[:, :images], network.seve(normed[:, images:], *targets)], 1)
        mixed = block.attn.mix(block.attn.query(queries), *block.attn.key_value(normed), allowed)
        x = block.after_attention(x, mixed)
    features = F.normalize(visual.ln_post(x[:, images:]) @ visual.proj, dim=-1)
    scores: Tensor = arch.logit_scale * features @ text.T
    return scores
