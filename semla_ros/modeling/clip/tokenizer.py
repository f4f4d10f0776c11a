"""CLIP's tokenizer: text to the byte-pair tokens that every published CLIP was trained with.

The vocabulary lies beside this file as ``tokenizer.json``, in the format of the ``tokenizers`` library. It is OpenAI's
(github.com/openai/CLIP, MIT licence), written by `semla_ros.training.tokenizer`. It belongs to CLIP and not to a model
bundle: all CLIP models share it.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

VOCABULARY = Path(__file__).with_name("tokenizer.json")
START, END = 49406, 49407  # the two highest ids
TOKENS = END + 1
MIN_CONTEXT = 3  # start, one token of the text, end


def tokenize(texts: Sequence[str], context_length: int) -> Tensor:
    """Encodes texts as CLIP's text encoder takes them: a start token, the text, an end token, zeros.

    A text that is too long is cut; the end token stays. Markers such as "<end_of_text>" inside a text have no special
    meaning.

    Args:
        texts: N texts.
        context_length: Tokens per text.

    Returns:
        Tokens (N, context_length) int64.
    """
    out = torch.zeros(len(texts), context_length, dtype=torch.int64)
    for row, text in zip(out, texts, strict=True):
        tokens = _tokenizer().encode(cleaned(text)).ids[: context_length - 2]
        row[: len(tokens) + 2] = torch.tensor([START, *tokens, END])
    return out


def cleaned(text: str) -> str:
    """Text as CLIP's vocabulary expects it: HTML entities decoded (twice), single spaces, lower case.

    OpenAI's code also repairs wrongly decoded text ("schÃ¶n") with the library ftfy. Of that, only the composition of
    accents (Unicode NFC) is done here.
    """
    text = html.unescape(html.unescape(unicodedata.normalize("NFC", text)))
    return " ".join(text.split()).lower()


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(VOCABULARY))
