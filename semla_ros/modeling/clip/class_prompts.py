"""The prompts of a segmenter's classes, as tokens, and the text embeddings that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from semla_ros.errors import ConfigError
from semla_ros.modeling.base import PromptTemplates
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import tokenize


@dataclass(frozen=True)
class ClassPrompts:
    """Tokens of the prompts of T classes.

    Attributes:
        tokens: Tokens of all prompts, (prompts, context_length) int64.
        counts: Number of prompts per class.
    """

    tokens: Tensor
    counts: list[int]

    @classmethod
    def of(
        cls, classes: Sequence[str], prompt_templates: PromptTemplates, context_length: int, device: torch.device
    ) -> ClassPrompts:
        """Makes the prompts of classes.

        Args:
            classes: Class names, synonyms after commas.
            prompt_templates: See `semla_ros.modeling.clip.prompts.prompts`.
            context_length: Tokens per prompt, padding included.
            device: Device of the tokens.

        Raises:
            ConfigError: There are no classes.
        """
        if not classes:
            raise ConfigError("no classes", where="segmenter.classes", expected="at least one class name")
        texts = [prompts(name, prompt_templates) for name in classes]
        tokens = tokenize([text for each in texts for text in each], context_length).to(device)
        return cls(tokens, [len(each) for each in texts])

    @torch.inference_mode()
    def encoded(self, clip: Clip) -> Tensor:
        """Returns the text embeddings (T, embed_dim): per class the mean over its prompts, L2-normalised."""
        embeddings = clip.encode_text(self.tokens).split(self.counts)
        return F.normalize(torch.stack([each.mean(0) for each in embeddings]), dim=-1)
