"""A navigator of published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from semla_ros.errors import BundleError
from semla_ros.library.checkpoints import read_state
from semla_ros.modeling.base import NavigatorKind
from semla_ros.modeling.weights import load_strictly

OPENAI = "ViT-L-14-quickgelu"  # open_clip's name of SemLA's navigator


def published_navigator(kind: NavigatorKind, source: str, model: str) -> tuple[Any, nn.Module]:
    """Reads a navigator: its architecture and its image encoder.

    Args:
        kind: Kind of the navigator.
        source: A file with the state dict of a CLIP; or "openai": open_clip then downloads ViT-L/14.
        model: Published name of the model in the file; needed where no configuration lies beside it.

    Raises:
        BundleError: The file is damaged or of another architecture, or the download fails.
    """
    published = (_openai(), source, OPENAI) if source == "openai" else (read_state(Path(source)), source, model)
    arch, ours = kind.from_published(*published)
    encoder = kind.network(arch)
    load_strictly(encoder, ours, source)
    return arch, encoder


def _openai() -> dict[str, Tensor]:
    import open_clip

    try:
        model = open_clip.create_model(OPENAI, pretrained="openai")
    except Exception as error:  # of the network, the hub or open_clip
        raise BundleError(
            "cannot download the navigator", where=f"open_clip {OPENAI}, openai", got=type(error).__name__,
            hint="Without a network, give --navigator a file with the state dict of this model.",
        ) from error  # fmt: skip
    state: dict[str, Tensor] = model.state_dict()
    return state
