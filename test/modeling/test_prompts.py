from __future__ import annotations

import pytest
from open_clip import OPENAI_IMAGENET_TEMPLATES

from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.templates import IMAGENET_TEMPLATES


@pytest.mark.parametrize("name", ["car", "car, automobile", " car ,automobile"])
def test_official_templates_use_the_first_synonym(name: str) -> None:
    assert prompts(name) == ["A photo of a car in the scene"]


def test_synonyms_gives_each_synonym_a_prompt() -> None:
    assert prompts("car, automobile,", "synonyms") == [
        "A photo of a car in the scene",
        "A photo of a automobile in the scene",
    ]


def test_imagenet_puts_each_synonym_into_each_template() -> None:
    out = prompts("car, automobile", "imagenet")
    assert len(out) == len(set(out)) == 2 * len(OPENAI_IMAGENET_TEMPLATES) == 160
    assert "a bad photo of a automobile." in out


@pytest.mark.parametrize("name", [",", ", ,"])
def test_a_name_of_commas_alone_is_used_unchanged(name: str) -> None:
    assert prompts(name) == [f"A photo of a {name} in the scene"]


def test_the_imagenet_templates_are_those_of_open_clip() -> None:
    assert [template.format("x") for template in IMAGENET_TEMPLATES] == [
        make("x") for make in OPENAI_IMAGENET_TEMPLATES
    ]
