"""The tokenizer gives the tokens of open_clip's, which is OpenAI's."""

from __future__ import annotations

import html

import ftfy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from semla_ros.evaluation.cityscapes import __doc__ as long_text
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.modeling.clip.prompts import prompts
from semla_ros.modeling.clip.tokenizer import END, START, VOCABULARY, tokenize
from semla_ros.training.tokenizer import clip_tokenizer

CONTEXT = 77
PUBLISHED = SimpleTokenizer(context_length=CONTEXT)
# U+0345 is a mark whose upper case is a letter: the published pattern, which ignores case, takes it for one.
LETTERS = st.characters(max_codepoint=0x4FF, blacklist_categories=["Cc", "Cn", "Cs"], blacklist_characters="\u0345")


@pytest.mark.parametrize("name", [*CITYSCAPES_COLORS, "traffic light, signal", "Müll-Tonne", "don't", "12 m²", "道路"])
def test_prompts_of_classes_get_the_published_tokens(name: str) -> None:
    texts = prompts(name, "imagenet") + prompts(name)
    assert (tokenize(texts, CONTEXT) == PUBLISHED(texts)).all()


@settings(max_examples=300, deadline=None)
@given(st.text(LETTERS, max_size=40))
def test_texts_get_the_published_tokens(text: str) -> None:
    assume(ftfy.fix_text(text) == text)  # ftfy repairs wrongly decoded text; we do not
    assume(html.unescape(text) == text or ftfy.fix_text(html.unescape(text)) == html.unescape(text))
    assume(not any(mark in text.lower() for mark in ("<start_of_text>", "<end_of_text>")))
    assert (tokenize([text], CONTEXT) == PUBLISHED([text])).all()


@pytest.mark.parametrize(
    "text", ["", "  \t two\n lines ", "A &amp;amp; B", "&lt;i&gt;", "e\u0301toile", "HELLO!!! 2024"]
)
def test_texts_are_cleaned_as_published(text: str) -> None:
    assert (tokenize([text], CONTEXT) == PUBLISHED([text])).all()


@pytest.mark.parametrize("context_length", [3, 16, 77])
def test_long_texts_are_cut_as_published(context_length: int) -> None:
    texts = [50 * str(long_text), "a road"]
    published = SimpleTokenizer(context_length=context_length)(texts)
    assert (tokenize(texts, context_length) == published).all()


def test_the_markers_of_start_and_end_mean_nothing_inside_a_text() -> None:
    tokens = tokenize(["a <end_of_text> b"], CONTEXT)[0].tolist()
    assert (tokens.count(START), tokens.count(END)) == (1, 1)


def test_the_vocabulary_file_is_what_the_desk_writes() -> None:
    assert VOCABULARY.read_text() == clip_tokenizer().to_str(pretty=False) + "\n"
