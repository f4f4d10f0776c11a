from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import PACKAGE

from semla_ros.adaptation.covariance import RANK, SHRINKAGE
from semla_ros.adaptation.statistics import Statistics
from semla_ros.adaptation.statistics_file import load_statistics, save_statistics
from semla_ros.errors import AdapterError

EMBEDDINGS = np.random.default_rng(0).normal(size=(500, 4)) * [1.0, 1.0, 1.0, 5.0] + 3.0
ONES = np.ones((1, 8), np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fog_statistics.npz"


def test_what_is_saved_is_read_back(file: Path) -> None:
    saved = Statistics.of(EMBEDDINGS)
    save_statistics(saved, file)
    read = load_statistics(file)
    assert read.centroid == pytest.approx(saved.centroid, rel=1e-6)
    assert read.mean_distances == pytest.approx(saved.mean_distances, rel=1e-6)
    assert read.distance_p99 == pytest.approx(saved.distance_p99, rel=1e-6)
    assert read.count == 500
    assert saved.covariance is not None
    assert read.covariance is not None
    assert (read.covariance.directions == saved.covariance.directions).all()
    assert read.covariance.variances == pytest.approx(saved.covariance.variances, rel=1e-6)
    assert read.covariance.residual == pytest.approx(saved.covariance.residual, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 8), (8,)])
def test_the_official_single_key_is_enough(file: Path, shape: tuple[int, ...]) -> None:
    np.savez(file, train_average_embedding=np.ones(shape, np.float32))
    found = load_statistics(file)
    assert found.centroid.tolist() == [1.0] * 8
    assert np.isnan([found.mean_distance(), found.distance_p99, found.mahalanobis(np.zeros(8))]).all()
    assert found.is_in_distribution(np.full(8, 1e6))


def test_unknown_arrays_in_the_file_are_ignored(file: Path) -> None:
    np.savez(file, train_average_embedding=np.ones((1, 8)), images=np.array(["a.png", "b.png"]))
    assert load_statistics(file).centroid.tolist() == [1.0] * 8


@pytest.mark.parametrize("left", [0, 7, 100, -5])
def test_a_truncated_file_is_refused(file: Path, left: int) -> None:
    save_statistics(Statistics.of(EMBEDDINGS), file)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(AdapterError, match=r"unreadable statistics.*fog_statistics.npz"):
        load_statistics(file)


def test_a_flipped_byte_is_refused(file: Path) -> None:
    save_statistics(Statistics.of(EMBEDDINGS), file)
    content = bytearray(file.read_bytes())
    content[content.index(b"NUMPY") + 130] ^= 0xFF  # the first number behind the array's header
    file.write_bytes(content)
    with pytest.raises(AdapterError, match="unreadable statistics"):
        load_statistics(file)


def test_a_pickle_is_never_opened(file: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (file.parent / "exploded",)

    np.savez(file, train_average_embedding=np.array([Bomb()], dtype=object))
    with pytest.raises(AdapterError, match=r"unreadable statistics.*train_average_embedding is object"):
        load_statistics(file)
    assert not (file.parent / "exploded").exists()


def test_a_bare_array_is_refused(file: Path) -> None:
    bare = io.BytesIO()
    np.save(bare, np.ones((1, 8)))
    file.write_bytes(bare.getvalue())
    with pytest.raises(AdapterError, match="expected an npz with train_average_embedding"):
        load_statistics(file)


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
        load_statistics(file)


def test_a_centroid_with_nan_is_refused(file: Path) -> None:
    np.savez(file, train_average_embedding=np.full((1, 8), np.nan))
    with pytest.raises(AdapterError, match=r"unreadable statistics.*train_average_embedding is not finite"):
        load_statistics(file)


@pytest.mark.parametrize("covariance", [np.eye(7), np.full((8, 8), np.nan), np.float32(1)])
def test_a_covariance_of_another_size_or_with_nan_is_refused(file: Path, covariance: Any) -> None:
    np.savez(file, train_average_embedding=np.ones((1, 8)), covariance=covariance)
    with pytest.raises(AdapterError, match=r"unreadable statistics.*covariance (is .* \(8, 8\)|is not finite)"):
        load_statistics(file)


@pytest.mark.parametrize(
    "centroid",
    [
        np.empty((1, 0)),
        np.float32(1),
        np.ones((2, 8)),
        np.ones((1, 8)) + 1j,
        np.array(["1.0"] * 8),
        np.array([b"1.0"] * 8),
        np.ones(8, bool),
        np.full((1, 8), 1e300),
        np.full((1, 8), -1e30),
        np.ones((1, 2049)),
    ],
    ids=["empty", "scalar", "two rows", "complex", "text", "bytes", "boolean", "1e300", "-1e30", "too long"],
)
def test_a_centroid_that_is_no_vector_of_moderate_real_numbers_is_refused(file: Path, centroid: Any) -> None:
    np.savez(file, train_average_embedding=centroid)
    with pytest.raises(AdapterError, match=r"unreadable statistics.*train_average_embedding is"):
        load_statistics(file)


@pytest.mark.parametrize("key", ["mean_distance", "mean_distance_cosine", "distance_p99", "count"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1j, "7", [1.0, 2.0]])
def test_a_scalar_that_is_not_finite_or_negative_is_refused(file: Path, key: str, value: Any) -> None:
    np.savez(file, train_average_embedding=ONES, **{key: np.asarray(value)})
    with pytest.raises(AdapterError, match=f"unreadable statistics.*{key} is"):
        load_statistics(file)


def test_a_count_of_zero_is_refused_and_a_large_one_is_kept(file: Path) -> None:
    np.savez(file, train_average_embedding=ONES, count=5_000_001)
    assert load_statistics(file).count == 5_000_001
    np.savez(file, train_average_embedding=ONES, count=0)
    with pytest.raises(AdapterError, match="count is not finite or out of range"):
        load_statistics(file)


def indefinite(smallest: float) -> np.ndarray:
    """A symmetric matrix whose smallest eigenvalue is given, the others being 1."""
    basis = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    return basis @ np.diag([smallest] + [1.0] * 7) @ basis.T


@pytest.mark.parametrize(
    ("covariance", "reason"),
    [
        (indefinite(-0.1), "not positive semidefinite"),
        (-np.eye(8), "not positive semidefinite"),
        (np.eye(8) + np.eye(8, k=1), "not symmetric"),
        (np.full((8, 8), 1e300), "not finite or out of range"),
    ],
)
def test_a_matrix_that_is_no_covariance_is_refused(file: Path, covariance: np.ndarray, reason: str) -> None:
    np.savez(file, train_average_embedding=ONES, covariance=covariance)
    with pytest.raises(AdapterError, match=f"unreadable statistics.*covariance is {reason}"):
        load_statistics(file)


@pytest.mark.parametrize("covariance", [indefinite(0.0), np.zeros((8, 8)), 1e-9 * np.eye(8)])
def test_a_singular_covariance_is_accepted_in_spite_of_rounding(file: Path, covariance: np.ndarray) -> None:
    np.savez(file, train_average_embedding=ONES, covariance=covariance)
    assert np.isfinite(load_statistics(file).mahalanobis(np.zeros(8)))


@pytest.mark.parametrize("key", ["train_average_embedding", "covariance", "covariance_directions", "mean_distance"])
def test_a_small_file_with_a_huge_array_is_refused_before_the_array_is_read(file: Path, key: str) -> None:
    np.savez_compressed(file, **({"train_average_embedding": ONES} | {key: np.zeros((6000, 6000), np.float32)}))
    assert file.stat().st_size < 2**18
    tracemalloc.start()
    with pytest.raises(AdapterError, match=rf"unreadable statistics.*{key} is float32 \(6000, 6000\)"):
        load_statistics(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"covariance_directions": 2 * np.eye(8)}, "out of range"),
        ({"covariance_directions": np.full((8, 8), 0.3)}, "not orthonormal"),
        ({"covariance_directions": np.eye(9)}, r"is float64 \(9, 9\)"),
        ({"covariance_directions": np.empty((0, 8))}, r"is float64 \(0, 8\)"),
        ({"covariance_directions": np.full((8, 8), np.nan)}, "not finite"),
        ({"covariance_variances": np.ones(7)}, r"is float64 \(7,\)"),
        ({"covariance_variances": np.zeros(8)}, "out of range"),
        ({"covariance_residual": np.float64(-1)}, "out of range"),
        ({"covariance_residual": np.ones(2)}, r"is float64 \(2,\)"),
        ({"covariance_residual": None}, "not covariance_variances and covariance_residual"),
    ],
)
def test_a_damaged_compact_covariance_is_refused(file: Path, damage: dict[str, Any], reason: str) -> None:
    whole = {
        "train_average_embedding": ONES, "covariance_directions": np.eye(8), "covariance_variances": np.ones(8),
        "covariance_residual": np.float64(1),
    }  # fmt: skip
    np.savez(file, **{key: value for key, value in (whole | damage).items() if value is not None})
    with pytest.raises(AdapterError, match=f"unreadable statistics.*{reason}"):
        load_statistics(file)
    np.savez(file, **whole)
    assert load_statistics(file).mahalanobis(np.zeros(8)) == pytest.approx(np.sqrt(8))


def test_the_full_covariance_of_an_older_file_is_approximated_and_not_kept(file: Path) -> None:
    embeddings = np.random.default_rng(5).normal(size=(900, 96)) * 0.9 ** np.arange(96)
    matrix = np.cov(embeddings.T, bias=True)
    np.savez(file, train_average_embedding=embeddings.mean(0)[None], covariance=matrix.astype(np.float32))
    found, computed = load_statistics(file), Statistics.of(embeddings)
    assert found.covariance is not None
    assert found.covariance.directions.shape == (RANK, 96)
    distances = [(found.mahalanobis(each), computed.mahalanobis(each)) for each in embeddings[:50]]
    assert [a for a, _ in distances] == pytest.approx([b for _, b in distances], rel=1e-3)


def test_the_limit_of_an_older_file_fits_the_approximated_distances(file: Path) -> None:
    embeddings = np.random.default_rng(5).normal(size=(3000, 96)) * 0.88 ** np.arange(96)
    offsets, matrix = embeddings - embeddings.mean(0), np.cov(embeddings.T, bias=True)
    inverse = np.linalg.inv(matrix + SHRINKAGE * np.trace(matrix) / 96 * np.eye(96))
    limit = np.percentile(np.sqrt(np.einsum("nd,de,ne->n", offsets, inverse, offsets)), 99)
    np.savez(file, train_average_embedding=embeddings.mean(0)[None], covariance=matrix, distance_p99=limit)
    found = load_statistics(file)
    assert np.mean([not found.is_in_distribution(each) for each in embeddings]) < 0.1


def test_a_file_of_768_dimensions_takes_less_than_64_kb(file: Path) -> None:
    embeddings = np.random.default_rng(5).normal(size=(40, 768))
    save_statistics(Statistics.of(embeddings), file)
    assert file.stat().st_size < 64_000


def test_unknown_values_are_left_out_of_the_file(file: Path) -> None:
    save_statistics(Statistics(np.ones(8)), file)
    with np.load(file) as stored:
        assert stored.files == ["train_average_embedding"]


def test_the_statistics_of_the_bundled_model_are_readable() -> None:
    files = sorted((PACKAGE.parent / "models/streetworld/adapters").glob("*/*_statistics.npz"))
    assert len(files) == 13
    for each in files:
        assert load_statistics(each).mean_distance() > 0


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 19])
def test_statistics_of_a_few_images_are_read_back(tmp_path: Path, count: int) -> None:
    draw = np.random.default_rng(0)
    statistics = Statistics.of(draw.normal(0, 5, (count, 8)), draw.normal(size=(count, 40)))
    save_statistics(statistics, tmp_path / "few_statistics.npz")
    read = load_statistics(tmp_path / "few_statistics.npz")
    assert read.count == count
    assert (read.look is None) == (statistics.look is None)
