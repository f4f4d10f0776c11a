"""SIMO: which parameters FISA trains; and what the paper compares it with."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from semla_ros.modeling.fisa.network import Fisa

Parameters = dict[str, nn.Parameter]


def simo(network: Fisa) -> Parameters:
    """Returns what SIMO trains, by name: SEVE with the Distribution Adapter, and CLIP's query projections.

    The query projections are those of the image encoder. At ViT-L/14 they have 25.2 M parameters and SEVE 1.2 M; the
    paper counts 26 M.
    """
    visual = network.clip.visual.named_parameters(prefix="clip.visual")
    return seve_alone(network) | {name: each for name, each in visual if ".attn.q_proj." in name}


def seve_alone(network: Fisa) -> Parameters:
    """Returns the parameters of SEVE and the Distribution Adapter: CLIP is frozen."""
    seve, adapter = network.seve.named_parameters(prefix="seve"), network.distribution.named_parameters("distribution")
    return dict(seve) | dict(adapter)


def seve_and_clip(network: Fisa) -> Parameters:
    """Returns those of SEVE, of the Distribution Adapter and of CLIP's whole image encoder."""
    return seve_alone(network) | dict(network.clip.visual.named_parameters(prefix="clip.visual"))


TRAINED: dict[str, Callable[[Fisa], Parameters]] = {"simo": simo, "seve": seve_alone, "clip": seve_and_clip}
