"""The official implementation's answers for ViT-B/16 with seeded weights, met within rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_weights import fill, keys, picture
from numpy.typing import NDArray

from semla_ros.checkpoints import catseg_from_official
from semla_ros.classes import CITYSCAPES_COLORS
from semla_ros.modeling.segmenter import Segmenter

DATA = Path(__file__).parent / "data" / "parity"
SEED = 11
LOGITS, PROBABILITIES = 1e-3, 1e-4  # rounding gives 1e-5; the mildest mistake (GELU for QuickGELU) 1e-2

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def golden() -> Arrays:
    with np.load(DATA / "vitb16_seed11.npz", allow_pickle=False) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return picture(seed=SEED)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    state = {key: torch.from_numpy(value) for key, value in fill(keys(DATA / "vitb16_keys.tsv"), SEED).items()}
    return catseg_from_official(state, list(CITYSCAPES_COLORS))


@torch.inference_mode()
def test_dense_features(segmenter: Segmenter, golden: Arrays, rgb: NDArray[np.uint8]) -> None:
    pixels = F.interpolate(segmenter._normalised(rgb), (384, 384), mode="bilinear", align_corners=False)
    dense, _ = segmenter.network.clip.visual(pixels)
    assert dense.shape == (1, 577, 512)
    assert np.abs(dense[0, ::12].numpy() - golden["dense"]).max() < LOGITS


def test_text_embeddings(segmenter: Segmenter, golden: Arrays) -> None:
    assert np.abs(segmenter._text.numpy() - golden["text"]).max() < PROBABILITIES


def test_logits(segmenter: Segmenter, golden: Arrays, rgb: NDArray[np.uint8]) -> None:
    logits = segmenter.logits(rgb)
    assert logits.shape == (19, 96, 96)
    assert np.abs(logits[:, ::2, ::2] - golden["logits"]).max() < LOGITS


def test_plain_probabilities(segmenter: Segmenter, golden: Arrays, rgb: NDArray[np.uint8]) -> None:
    probabilities = segmenter.probabilities(rgb)
    assert probabilities.shape == (19, 480, 640)
    assert np.abs(probabilities[:, ::12, ::12] - golden["plain"]).max() < PROBABILITIES


@pytest.mark.slow
def test_sliding_window_probabilities(segmenter: Segmenter, golden: Arrays, rgb: NDArray[np.uint8]) -> None:
    probabilities = segmenter.probabilities(rgb, "sliding")
    assert np.abs(probabilities[:, ::12, ::12] - golden["sliding"]).max() < PROBABILITIES
