"""Prompts: the texts whose embeddings stand for a class."""

from __future__ import annotations

from semla_ros.modeling.base import PromptTemplates
from semla_ros.modeling.clip.templates import IMAGENET_TEMPLATES

TEMPLATE = "A photo of a {} in the scene"  # CAT-Seg's


def prompts(name: str, prompt_templates: PromptTemplates = "official") -> list[str]:
    """Returns the prompts of a class. The mean of their embeddings is the class's embedding.

    Args:
        name: Class name, with synonyms after commas: "car, automobile".
        prompt_templates: "official" puts the first synonym into CAT-Seg's template; "synonyms" puts each synonym into
            it; "imagenet" puts each synonym into each of the eighty templates that CLIP was published with.
    """
    synonyms = [synonym.strip() for synonym in name.split(",") if synonym.strip()] or [name]
    if prompt_templates == "imagenet":
        return [template.format(synonym) for template in IMAGENET_TEMPLATES for synonym in synonyms]
    return [TEMPLATE.format(synonym) for synonym in (synonyms if prompt_templates == "synonyms" else synonyms[:1])]
