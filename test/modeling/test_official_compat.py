from __future__ import annotations

import numpy as np
import pytest
import torch
from catseg_outputs import logits_of, probabilities_of
from tiny import CLASSES, image, random_adapter, random_network

from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.lora import LoraFuser

RGB = image("red", height=32, width=64)
CLIP_QUERIES_KEYS_AND_VALUES = 3 * (3 + 2) - 2  # blocks of the tiny encoders; the last visual one has a value alone


@pytest.fixture
def official() -> OfficialSegmenter:
    return OfficialSegmenter(random_network(), CLASSES)


def fuse(segmenter: CatSegSegmenter, seed: int) -> None:
    LoraFuser(segmenter.adapted_layers()).apply([random_adapter("a", segmenter.network, seed=seed)], (1.0,))
    segmenter.refresh_text()


def test_without_adapters_and_with_even_sizes_it_segments_as_ours_does(official: OfficialSegmenter) -> None:
    assert (logits_of(official, RGB) == logits_of(CatSegSegmenter(random_network(), CLASSES), RGB)).all()


def test_text_embeddings_of_the_first_image_are_kept(official: OfficialSegmenter) -> None:
    bare = official.text.clone()
    fuse(official, seed=1)
    first = official.text.clone()
    assert not torch.allclose(first, bare, atol=1e-3)
    official.segment(RGB)
    fuse(official, seed=2)
    assert torch.equal(official.text, first)
    official.set_classes(CLASSES)
    assert not torch.allclose(official.text, first, atol=1e-3)


def test_clips_queries_keys_and_values_are_not_adapted(official: OfficialSegmenter) -> None:
    left_out = CatSegSegmenter(random_network(), CLASSES).adapted_layers().keys() - official.adapted_layers().keys()
    assert all(name.startswith("clip.") and name.endswith(("q_proj", "k_proj", "v_proj")) for name in left_out)
    assert len(left_out) == CLIP_QUERIES_KEYS_AND_VALUES


def test_odd_sizes_are_padded_in_plain_mode_only(official: OfficialSegmenter) -> None:
    ours, odd = CatSegSegmenter(random_network(), CLASSES), RGB[:30, :50]
    assert np.abs(probabilities_of(official, odd) - probabilities_of(ours, odd)).max() > 1e-3
    assert (probabilities_of(official, odd, "sliding") == probabilities_of(ours, odd, "sliding")).all()
