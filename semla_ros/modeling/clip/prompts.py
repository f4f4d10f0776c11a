"""What the text encoder is asked for a class."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from semla_ros.modeling.base import PromptTemplates

TEMPLATE = "A photo of a {} in the scene"


def prompts(name: str, prompt_templates: PromptTemplates = "official") -> list[str]:
    """The prompts of a class, whose embeddings are averaged.

    Args:
        name: A class, its synonyms after commas: "car, automobile".
        prompt_templates: "official" puts the first synonym into CAT-Seg's template, "synonyms" all of them, "imagenet"
            all of them into each of the eighty templates that CLIP was published with.
    """
    synonyms = [synonym.strip() for synonym in name.split(",") if synonym.strip()] or [name]
    if prompt_templates == "imagenet":
        return [template(synonym) for template in OPENAI_IMAGENET_TEMPLATES for synonym in synonyms]
    return [TEMPLATE.format(synonym) for synonym in (synonyms if prompt_templates == "synonyms" else synonyms[:1])]


def tokenize(texts: Sequence[str], context_length: int) -> Tensor:
    """BPE tokens (N, context_length) int64 of CLIP's vocabulary, zero-padded."""
    tokens: Tensor = SimpleTokenizer(context_length=context_length)(list(texts))
    return tokens
