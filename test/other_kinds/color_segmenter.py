"""A segmenter that is not CAT-Seg: one linear layer from a pixel's colour to its classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.base import Architecture, Mode, PromptTemplates, SegmenterKind, TrainingLoss


@dataclass(frozen=True)
class ColorArch(Architecture):
    """Size of the network.

    Attributes:
        max_classes: Number of classes that the layer has outputs for.
    """

    kind: ClassVar[str] = "color"
    max_classes: int


class ColorNetwork(nn.Module):
    """Colour (..., 3) to logits (..., max_classes)."""

    def __init__(self, arch: ColorArch) -> None:
        super().__init__()
        self.classify = nn.Linear(3, arch.max_classes)

    def forward(self, colors: Tensor) -> Tensor:
        logits: Tensor = self.classify(colors)
        return logits


class ColorSegmenter:
    """See `semla_ros.modeling.base.Segmenter`."""

    def __init__(
        self, network: ColorNetwork, classes: Sequence[str], prompt_templates: PromptTemplates, memory_mib: int
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.classes, self.memory_mib = tuple(classes), memory_mib

    @property
    def device(self) -> torch.device:
        return self.network.classify.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.network.classify.weight.dtype

    def adapted_layers(self) -> dict[str, nn.Linear]:
        return {"classify": self.network.classify}

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        self.classes = tuple(classes)

    def refresh_text(self) -> None:
        """Does nothing: there is no text encoder."""

    @torch.inference_mode()
    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        logits = self.network(torch.from_numpy(rgb).to(self.dtype) / 255)[..., : len(self.classes)]
        confidence, labels = logits.float().softmax(-1).max(-1)
        return labels.numpy(), confidence.numpy()


class ColorLoss(TrainingLoss):
    """Cross-entropy per pixel. There are no prompts."""

    def __init__(self, network: ColorNetwork, classes: Sequence[str]) -> None:
        super().__init__(network, image_size=8, label_size=8)

    def draw_prompts(self, generator: torch.Generator) -> Tensor:
        return torch.empty(0)

    def forward(self, images: Tensor, labels: Tensor, prompts: Tensor) -> Tensor:
        logits = self.network(images.float() / 255).permute(0, 3, 1, 2)
        return nn.functional.cross_entropy(logits, labels, ignore_index=255)


def from_published(state: Mapping[str, Tensor]) -> tuple[ColorArch, dict[str, Tensor]]:
    return ColorArch(len(state["classify.bias"])), dict(state)


KIND = SegmenterKind(
    architecture=ColorArch,
    network=ColorNetwork,
    segmenter=ColorSegmenter,
    official_compat=None,
    from_published=from_published,
    unused_keys=lambda state: [],
    module_name=str,
    loss=ColorLoss,
)
