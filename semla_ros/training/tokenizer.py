"""Writes ``semla_ros/modeling/clip/tokenizer.json`` from the vocabulary that open_clip brings.

The file is part of the package. To write it again: ``python -m semla_ros.training.tokenizer``.
"""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from semla_ros.modeling.clip.tokenizer import VOCABULARY

# English contractions, runs of letters, single digits, runs of anything else.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


def clip_tokenizer() -> Tokenizer:
    """CLIP's byte-pair encoding for text that `semla_ros.modeling.clip.tokenizer.cleaned` has cleaned."""
    from open_clip.tokenizer import SimpleTokenizer

    published = SimpleTokenizer()
    merges = sorted(published.bpe_ranks, key=lambda pair: published.bpe_ranks[pair])
    tokenizer = Tokenizer(models.BPE(vocab=published.encoder, merges=merges, end_of_word_suffix="</w>"))
    words = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, to_bytes])
    return tokenizer


if __name__ == "__main__":
    VOCABULARY.write_text(clip_tokenizer().to_str(pretty=False) + "\n")
