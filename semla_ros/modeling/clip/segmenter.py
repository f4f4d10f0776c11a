"""Base class of segmenters that compare image features with CLIP text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semla_ros.modeling.base import PromptTemplates
from semla_ros.modeling.clip.class_prompts import ClassPrompts


class ClipSegmenter:
    """Keeps a network and the text embeddings of the classes; see `semla_ros.modeling.base.Segmenter`.

    Args:
        network: A network with its weights, of any floating-point type. It has a ``clip``, an ``arch`` with CLIP's
            sizes, and ``adapted_layers()``.
        classes: Class names, synonyms after commas ("car, automobile").
        prompt_templates: Prompts per class, see `semla_ros.modeling.clip.prompts.prompts`.
        memory_mib: Memory limit for what is computed at a time, MiB.

    Raises:
        ConfigError: There are no classes.
    """

    def __init__(
        self, network: Any, classes: Sequence[str], prompt_templates: PromptTemplates = "official",
        memory_mib: int = 1024,
    ) -> None:  # fmt: skip
        self.network, self.memory_mib = network.eval().requires_grad_(False), memory_mib
        self.set_classes(classes, prompt_templates)

    @property
    def device(self) -> torch.device:
        """Device that the network computes on."""
        device: torch.device = self.network.clip.text_projection.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type that the network computes in."""
        dtype: torch.dtype = self.network.clip.text_projection.dtype
        return dtype

    @property
    def tokens(self) -> Tensor:
        """Tokens of all prompts, (prompts, context_length) int64."""
        return self._prompts.tokens

    @property
    def text(self) -> Tensor:
        """Text embeddings, L2-normalised: of the T classes, and after them of `further_texts`."""
        return self._text

    def further_texts(self) -> list[str]:
        """Texts that are encoded besides the classes."""
        return []

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the linear layers that adapters change, by module name."""
        layers: dict[str, nn.Linear] = self.network.adapted_layers()
        return layers

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """Segments into other classes from now on. If this fails, the previous classes stay in force.

        Args:
            classes: Class names, synonyms after commas.
            prompt_templates: Prompts per class.

        Raises:
            ConfigError: There are no classes.
        """
        texts = [*classes, *self.further_texts()] if classes else []
        prompts = ClassPrompts.of(texts, prompt_templates, self.network.arch.context_length, self.device)
        text = prompts.encoded(self.network.clip)
        self.classes, self._prompts, self._text = tuple(classes), prompts, text

    def refresh_text(self) -> None:
        """Encodes the classes again. Required after every change of weights: adapters change the text encoder, too."""
        self._text = self._prompts.encoded(self.network.clip)

    def on_device(self, rgb: NDArray[np.uint8]) -> Tensor:
        """An image (H, W, 3) uint8 as a tensor (1, H, W, 3) on the device of the network."""
        return torch.from_numpy(np.ascontiguousarray(rgb)).to(self.device)[None]
