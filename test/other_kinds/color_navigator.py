"""A navigator that is not CLIP: the mean colour of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.base import Architecture, NavigatorKind


@dataclass(frozen=True)
class MeanColorArch(Architecture):
    """Size of the navigator.

    Attributes:
        embed_dim: Dimension of the embeddings, 3.
    """

    kind: ClassVar[str] = "mean_color"
    embed_dim: int = 3


class MeanColorNavigator:
    """See `semla_ros.modeling.base.Navigator`."""

    def __init__(self, network: nn.Module, arch: MeanColorArch) -> None:
        self.network, self.embed_dim = network, arch.embed_dim

    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        embedding: NDArray[np.float64] = rgb.mean((0, 1), dtype=np.float64)
        return embedding


def from_published(state: Mapping[str, Tensor], where: str, model: str) -> tuple[MeanColorArch, dict[str, Tensor]]:
    return MeanColorArch(), dict(state)


KIND = NavigatorKind(
    architecture=MeanColorArch,
    network=lambda arch: nn.Linear(1, 1),
    navigator=MeanColorNavigator,
    from_published=from_published,
)
