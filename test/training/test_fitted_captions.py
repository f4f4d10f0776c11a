from __future__ import annotations

import numpy as np
import torch
from tiny import random_navigator, random_network

from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.training.captions import fit_text, rendered_pairs

SENTENCES = ("a street at night", "a street in fog", "a corridor")


def test_the_text_encoder_is_fitted_to_fixed_image_embeddings_and_nothing_else_is_trained() -> None:
    clip = random_network().clip
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(3, 16))
    fit_text(clip, np.tile(images, (20, 1)), SENTENCES * 20, steps=60)
    with torch.no_grad():
        texts = clip.encode_text(tokenize(SENTENCES, 16)).numpy()
    assert (images @ texts.T).argmax(1).tolist() == [0, 1, 2]
    unchanged = {key for key, value in clip.state_dict().items() if torch.equal(value, before[key])}
    assert {key for key in before if key.startswith(("visual.", "token_embedding."))} <= unchanged
    assert "text_projection" not in unchanged


def test_every_rendered_image_has_an_embedding_and_a_sentence() -> None:
    embeddings, sentences = rendered_pairs(random_navigator(), 1)
    assert embeddings.shape == (13, 8)
    assert len(set(sentences)) == 13
