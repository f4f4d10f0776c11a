from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError

EMBEDDINGS = np.random.default_rng(0).normal(size=(500, 4)) * [1.0, 1.0, 1.0, 5.0] + 3.0
FIRST, *_, LAST = np.eye(4)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fog_statistics.npz"


def test_moments_by_hand() -> None:
    found = Statistics.of(np.array([[0.0, 0.0], [4.0, 0.0], [2.0, 3.0], [2.0, -3.0]]))
    assert found.centroid.tolist() == [2.0, 0.0]
    assert found.mean_distance == pytest.approx(2.5)
    assert found.covariance is not None
    assert found.covariance.tolist() == [[2.0, 0.0], [0.0, 4.5]]


def test_the_mahalanobis_distance_counts_in_deviations() -> None:
    found = Statistics.of(EMBEDDINGS)
    narrow, wide = found.centroid + 3 * FIRST, found.centroid + 15 * LAST
    assert found.mahalanobis(narrow) == pytest.approx(3, rel=0.2)
    assert found.mahalanobis(wide) == pytest.approx(3, rel=0.2)
    assert found.mahalanobis(found.centroid) == 0.0


def test_nearly_all_training_images_are_covered_and_far_ones_are_not() -> None:
    found = Statistics.of(EMBEDDINGS)
    assert np.mean([found.is_in_distribution(e) for e in EMBEDDINGS]) == pytest.approx(0.99)
    assert not found.is_in_distribution(found.centroid + 8 * FIRST)
    assert found.is_in_distribution(found.centroid + 8 * LAST)


def test_fewer_images_than_dimensions_give_finite_distances() -> None:
    found = Statistics.of(np.random.default_rng(1).normal(size=(3, 16)))
    assert math.isfinite(found.mahalanobis(np.ones(16)))
    assert not found.is_in_distribution(np.full(16, 100.0))


def test_a_single_image_has_no_spread() -> None:
    found = Statistics.of(np.ones((1, 4)))
    assert (found.mean_distance, found.distance_p99) == (0.0, 0.0)
    assert found.is_in_distribution(np.ones(4))
    assert not found.is_in_distribution(np.zeros(4))


@given(st.floats(-50, 50))
def test_distances_are_never_negative(shift: float) -> None:
    assert Statistics.of(EMBEDDINGS[:20]).mahalanobis(np.full(4, shift)) >= 0


def test_what_is_saved_is_read_back(file: Path) -> None:
    saved = Statistics.of(EMBEDDINGS)
    saved.save(file)
    read = Statistics.load(file)
    assert read.centroid == pytest.approx(saved.centroid, rel=1e-6)
    assert (read.mean_distance, read.distance_p99) == pytest.approx((saved.mean_distance, saved.distance_p99), rel=1e-6)
    assert read.covariance == pytest.approx(saved.covariance, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 8), (8,)])
def test_the_official_single_key_is_enough(file: Path, shape: tuple[int, ...]) -> None:
    np.savez(file, train_average_embedding=np.ones(shape, np.float32))
    found = Statistics.load(file)
    assert found.centroid.tolist() == [1.0] * 8
    assert np.isnan([found.mean_distance, found.distance_p99, found.mahalanobis(np.zeros(8))]).all()
    assert found.is_in_distribution(np.full(8, 1e6))


def test_unknown_arrays_in_the_file_do_not_matter(file: Path) -> None:
    np.savez(file, train_average_embedding=np.ones((1, 8)), images=np.array(["a.png", "b.png"]))
    assert Statistics.load(file).centroid.tolist() == [1.0] * 8


@pytest.mark.parametrize("left", [0, 7, 100, -5])
def test_a_truncated_file_is_refused(file: Path, left: int) -> None:
    Statistics.of(EMBEDDINGS).save(file)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(AdapterError, match=r"unreadable statistics.*fog_statistics.npz"):
        Statistics.load(file)


def test_a_flipped_byte_is_found(file: Path) -> None:
    Statistics.of(EMBEDDINGS).save(file)
    content = bytearray(file.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 0xFF  # the first number behind the array's header
    file.write_bytes(content)
    with pytest.raises(AdapterError, match="unreadable statistics"):
        Statistics.load(file)


def test_a_pickle_is_never_opened(file: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (file.parent / "exploded",)

    np.savez(file, train_average_embedding=np.array([Bomb()], dtype=object))
    with pytest.raises(AdapterError, match=r"unreadable statistics.*allow_pickle=False"):
        Statistics.load(file)
    assert not (file.parent / "exploded").exists()


def test_a_bare_array_is_refused(file: Path) -> None:
    bare = io.BytesIO()
    np.save(bare, np.ones((1, 8)))
    file.write_bytes(bare.getvalue())
    with pytest.raises(AdapterError, match="expected an npz with train_average_embedding"):
        Statistics.load(file)


@pytest.mark.parametrize(
    "arrays",
    [
        {"average": np.ones((1, 8))},
        {"train_average_embedding": np.array(["red"])},
        {"train_average_embedding": np.ones((1, 8)), "mean_distance": np.ones(3)},
    ],
)
def test_a_file_without_usable_moments_is_refused(file: Path, arrays: dict[str, Any]) -> None:
    np.savez(file, **arrays)
    with pytest.raises(AdapterError, match=r"unreadable statistics.*train_average_embedding"):
        Statistics.load(file)


def test_a_centroid_with_nan_is_refused(file: Path) -> None:
    np.savez(file, train_average_embedding=np.full((1, 8), np.nan))
    with pytest.raises(AdapterError, match="centroid is not finite"):
        Statistics.load(file)


@pytest.mark.parametrize("covariance", [np.eye(7), np.full((8, 8), np.nan), np.float32(1)])
def test_a_covariance_of_another_size_or_with_nan_is_refused(file: Path, covariance: Any) -> None:
    np.savez(file, train_average_embedding=np.ones((1, 8)), covariance=covariance)
    with pytest.raises(AdapterError, match=r"unusable covariance.*expected finite \(8, 8\)"):
        Statistics.load(file)
