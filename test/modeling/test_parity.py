"""Our network against stored outputs of the official implementation, for seeded weights of both published sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from catseg_outputs import logits_of, probabilities_of
from golden_weights import factor, fill, image, keys
from numpy.typing import NDArray
from official import catseg_from_official
from paths import DATA

from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.modeling.base import linear_layers
from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.published import our_name
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.lora import Adapter, LoraFuser

PARITY = DATA / "parity"
LOGITS, PROBABILITIES = 1e-3, 1e-4  # rounding gives 1e-5; the smallest likely mistake (GELU for QuickGELU) 1e-2
SIZES = {"vitb16": 11, "vitl14": 12}  # size to the seed of its weights

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Golden:
    """Stored outputs of the official code, and our segmenter with the same weights."""

    answers: Arrays
    segmenter: CatSegSegmenter
    rgb: NDArray[np.uint8]


def stored(name: str) -> Arrays:
    with np.load(PARITY / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module", params=SIZES)
def golden(request: pytest.FixtureRequest) -> Golden:
    size, seed = request.param, SIZES[request.param]
    shapes = keys(PARITY / f"{size}_keys.tsv")
    segmenter = catseg_from_official(
        {key: torch.from_numpy(value) for key, value in fill(shapes, seed).items()}, list(CITYSCAPES_COLORS)
    )
    return Golden(stored(f"{size}_seed{seed}"), segmenter, image(seed=seed))


@torch.inference_mode()
def test_dense_features(golden: Golden) -> None:
    dense, _ = golden.segmenter.network.clip.visual(golden.segmenter.pixels(golden.rgb))
    assert dense.shape == (1, 577, golden.segmenter.network.arch.embed_dim)
    assert np.abs(dense[0, ::12].numpy() - golden.answers["dense"]).max() < LOGITS


def test_text_embeddings(golden: Golden) -> None:
    assert np.abs(golden.segmenter.text.numpy() - golden.answers["text"]).max() < PROBABILITIES


def test_logits(golden: Golden) -> None:
    logits = logits_of(golden.segmenter, golden.rgb)
    assert logits.shape == (19, 96, 96)
    assert np.abs(logits[:, ::2, ::2] - golden.answers["logits"]).max() < LOGITS


def test_plain_probabilities(golden: Golden) -> None:
    probabilities = probabilities_of(golden.segmenter, golden.rgb)
    assert probabilities.shape == (19, 480, 640)
    assert np.abs(probabilities[:, ::12, ::12] - golden.answers["plain"]).max() < PROBABILITIES


@pytest.mark.slow
def test_sliding_window_probabilities(golden: Golden) -> None:
    probabilities = probabilities_of(golden.segmenter, golden.rgb, "sliding")
    assert np.abs(probabilities[:, ::12, ::12] - golden.answers["sliding"]).max() < PROBABILITIES


def seeded_adapter(name: str, segmenter: CatSegSegmenter, seed: int) -> Adapter:
    """An adapter of rank 8 on every linear layer except CLIP's output projections, which the official code does not
    call as modules.
    """
    layers = linear_layers(segmenter.network).items()
    official = {official_name(n): layer for n, layer in layers if not n.endswith(".attn.out_proj")}
    assert len(official) == 155
    factors = {
        our_name(key): (factor(f"{key}.lora_A", (8, layer.in_features), seed),
                        factor(f"{key}.lora_B", (layer.out_features, 8), seed))
        for key, layer in official.items()
    }  # fmt: skip
    return Adapter(name, {k: (torch.from_numpy(a), torch.from_numpy(b)) for k, (a, b) in factors.items()}, 2.0)


def official_name(ours: str) -> str:
    for part in ("clip", "aggregator"):
        official = {"clip": "clip_model", "aggregator": "transformer"}[part]
        if ours.startswith(f"{part}."):
            return f"sem_seg_head.predictor.{official}{ours.removeprefix(part)}"
    return ours


def test_official_mixtures_and_their_stale_text(golden: Golden) -> None:
    """Two PEFT mixtures of adapters that are not zero anywhere, one after the other, as SemLA's evaluation does."""
    if golden.segmenter.network.arch.image_size != 384:
        pytest.skip("stored for ViT-B/16")
    answers, ours = stored("vitb16_compat11"), golden.segmenter
    a, b, c = (seeded_adapter(name, ours, 100 + i) for i, name in enumerate("abc"))
    official = OfficialSegmenter(ours.network, ours.classes)
    fuser, everything = LoraFuser(official.adapted_layers()), LoraFuser(ours.adapted_layers())
    try:
        for mixture, weights, expected in (((a, b, c), (0.6, 0.3, 0.1), "first"), ((c, a), (0.7, 0.3), "second")):
            fuser.apply(mixture, weights)
            official.refresh_text()
            assert np.abs(logits_of(official, golden.rgb)[:, ::4, ::4] - answers[expected]).max() < LOGITS
        everything.apply((c, a), (0.7, 0.3))
        ours.refresh_text()
        assert np.abs(logits_of(ours, golden.rgb)[:, ::4, ::4] - answers["second"]).max() > 100 * LOGITS
    finally:
        everything.apply((), ())
        ours.refresh_text()
