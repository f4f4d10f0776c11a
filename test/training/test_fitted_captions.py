from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tiny import random_navigator, random_network

from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.training.captions import embedded, fit_text
from semla_ros.training.device import accelerator_on
from semla_ros.training.rendered import captioned
from semla_ros.training.schedule import Schedule

SENTENCES = ("a street at night", "a street in fog", "a corridor")


def test_the_text_encoder_is_fitted_to_fixed_image_embeddings_and_nothing_else_is_trained(tmp_path: Path) -> None:
    clip = random_network().clip
    before = {key: value.clone() for key, value in clip.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(3, 16))
    schedule = Schedule(steps=60, batch=60, lr=1e-3, warmup=6, weight_decay=0.1)
    fit_text(clip, np.tile(images, (20, 1)), SENTENCES * 20, schedule, tmp_path, 1, accelerator_on("cpu"))
    with torch.no_grad():
        texts = clip.encode_text(tokenize(SENTENCES, 16)).numpy()
    assert (images @ texts.T).argmax(1).tolist() == [0, 1, 2]
    unchanged = {key for key, value in clip.state_dict().items() if torch.equal(value, before[key])}
    assert {key for key in before if key.startswith(("visual.", "token_embedding."))} <= unchanged
    assert "text_projection" not in unchanged


def test_every_rendered_image_has_an_embedding_and_a_sentence() -> None:
    embeddings, sentences = embedded(random_navigator(), captioned(1, seed=1))
    assert embeddings.shape == (13, 8)
    assert len(set(sentences)) == 13
