from __future__ import annotations

import pytest
from open_clip import OPENAI_IMAGENET_TEMPLATES

from semla_ros.modeling.clip.prompts import prompts


@pytest.mark.parametrize("name", ["car", "car, automobile", " car ,automobile"])
def test_the_official_wording_takes_the_first_synonym(name: str) -> None:
    assert prompts(name) == ["A photo of a car in the scene"]


def test_synonyms_get_a_prompt_each() -> None:
    assert prompts("car, automobile,", "synonyms") == [
        "A photo of a car in the scene",
        "A photo of a automobile in the scene",
    ]


def test_the_imagenet_wording_puts_every_synonym_into_every_template() -> None:
    out = prompts("car, automobile", "imagenet")
    assert len(out) == len(set(out)) == 2 * len(OPENAI_IMAGENET_TEMPLATES) == 160
    assert "a bad photo of a automobile." in out


@pytest.mark.parametrize("name", [",", ", ,"])
def test_a_name_of_commas_alone_is_asked_for_as_it_is(name: str) -> None:
    assert prompts(name) == [f"A photo of a {name} in the scene"]
