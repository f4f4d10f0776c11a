from __future__ import annotations

import math

import numpy as np
import pytest

from semla_ros.adaptation.look import LookStatistics
from semla_ros.adaptation.statistics import Statistics

DRAW = np.random.default_rng(7)
EMBEDDINGS = DRAW.normal(size=(400, 24))
TEXTURES = 0.01 * DRAW.normal(size=(400, 8)) + 5.0
LOOKS = np.hstack([EMBEDDINGS, TEXTURES])


@pytest.mark.parametrize("count", [30, 100, 400])
def test_nearly_all_new_looks_are_inside_whatever_the_number_of_training_images(count: int) -> None:
    found, new = LookStatistics.of(DRAW.normal(size=(count, 60))), DRAW.normal(size=(2000, 60))
    assert np.mean([found.contains(look) for look in new]) > 0.95
    assert not any(found.contains(look) for look in 3 * new)


def test_every_value_counts_in_its_own_deviations() -> None:
    found = LookStatistics.of(LOOKS)
    assert found.contains(LOOKS.mean(0))
    assert not found.contains(LOOKS.mean(0) + 0.2 * np.eye(32)[-1])
    assert found.contains(LOOKS.mean(0) + 0.2 * np.eye(32)[0])


def test_the_same_embedding_with_another_texture_is_out_of_distribution() -> None:
    found = Statistics.of(EMBEDDINGS, TEXTURES)
    embedding, texture = EMBEDDINGS.mean(0), TEXTURES.mean(0)
    assert found.is_in_distribution(embedding, texture)
    assert not found.is_in_distribution(embedding, texture + 0.1)
    assert found.is_in_distribution(embedding)


def test_without_textures_of_the_training_images_the_embedding_alone_is_compared() -> None:
    found = Statistics.of(EMBEDDINGS)
    assert found.is_in_distribution(EMBEDDINGS.mean(0), np.full(8, 1e3))
    assert not found.is_in_distribution(EMBEDDINGS.mean(0) + 100, TEXTURES[0])


def test_where_nothing_but_the_centroid_is_known_everything_is_in_distribution() -> None:
    assert Statistics(np.zeros(24)).is_in_distribution(np.full(24, 1e6), np.full(8, 1e6))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_looks_give_finite_distances(count: int) -> None:
    found = LookStatistics.of(LOOKS[:count])
    assert math.isfinite(found.distance_limit)
    assert np.isfinite(found.distances(LOOKS)).all()
