"""SIMO: which parameters FISA trains."""

from __future__ import annotations

from torch import nn

from semla_ros.modeling.fisa.network import Fisa


def simo(network: Fisa) -> dict[str, nn.Parameter]:
    """Returns what SIMO trains, by name: SEVE with the Distribution Adapter, and CLIP's query projections.

    The query projections are those of the image encoder. At ViT-L/14 they have 25.2 M parameters and SEVE 1.2 M; the
    paper counts 26 M.
    """
    blocks = network.clip.visual.transformer.resblocks
    modules: dict[str, nn.Module] = {"seve": network.seve, "distribution": network.distribution}
    modules |= {f"clip.visual.transformer.resblocks.{i}.attn.q_proj": b.attn.q_proj for i, b in enumerate(blocks)}  # type: ignore[misc, union-attr]
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.named_parameters()}
