"""``<name>_statistics.npz``: the statistics of an adapter's training images on disk.

The file comes from untrusted sources. Names, types and shapes of its arrays are checked before any data is read, so
that a small file cannot fill the memory; nothing is ever unpickled.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from semla_ros.adaptation.covariance import LEAST_VARIANCE, SHRINKAGE, LowRankCovariance
from semla_ros.adaptation.look import LookStatistics
from semla_ros.adaptation.metrics import EUCLIDEAN, METRICS, mahalanobis
from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import AdapterError

Array = NDArray[np.float64]
CENTROID, MEAN_DISTANCE, COVARIANCE, P99, COUNT = (
    "train_average_embedding", "mean_distance", "covariance", "distance_p99", "count",
)  # fmt: skip
LOOK, LOOK_MEAN, LOOK_SCALE, LOOK_LIMIT = "look", "look_mean", "look_scale", "look_distance_limit"
PARTS = "directions", "variances", "residual"  # of a covariance in compact form
READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
MAX_DIMENSION = 2048  # a full covariance of this size takes 32 MiB while it is read
MAX_RANK = 64
MAX_VALUE = 1e6  # squares of larger values lose their meaning in single precision
MAX_VARIANCE = MAX_VALUE**2
RANGES = {
    CENTROID: (-MAX_VALUE, MAX_VALUE), COVARIANCE: (-MAX_VARIANCE, MAX_VARIANCE), COUNT: (1.0, 2.0**53),
    LOOK_MEAN: (-MAX_VALUE, MAX_VALUE), LOOK_SCALE: (1e-6, MAX_VALUE),
}  # fmt: skip
NEGATIVE_VARIANCE = 1e-3  # share of the mean variance by which rounding may make an eigenvalue negative
for _name in (COVARIANCE, LOOK):
    RANGES |= dict.fromkeys([f"{_name}_variances", f"{_name}_residual"], (LEAST_VARIANCE / 2, MAX_VARIANCE))
    RANGES[f"{_name}_directions"] = -1.01, 1.01
MAX_TEXTURE = 1024  # longest texture of a look
ORTHONORMAL = 1e-3  # largest error of a scalar product of two directions


def load_statistics(path: Path) -> Statistics:
    """Reads the statistics of an adapter. The one array of official files, ``train_average_embedding``, is enough.

    Args:
        path: An npz file with ``train_average_embedding`` (1, D) or (D,), and optionally a covariance and the scalars
            ``mean_distance`` (Euclidean), ``mean_distance_<metric>``, ``distance_p99`` and ``count``. A covariance is
            ``covariance_directions`` (r, D), ``covariance_variances`` (r,) and ``covariance_residual``, see
            `LowRankCovariance`; older files hold the matrix ``covariance`` (D, D), which is approximated. For the
            statistics of looks (`LookStatistics`) there are ``look_mean`` (L,), ``look_scale`` (L,), the scalar
            ``look_distance_limit``, and the same three arrays of a covariance, beginning with ``look``.

    Raises:
        AdapterError: The file is missing, damaged or no npz, or an array has an impossible type, shape or value.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            centroid = _read(archive, CENTROID, _is_vector, f"(1, D), D at most {MAX_DIMENSION}")
            if centroid is None:
                raise ValueError(f"it has no {CENTROID}")
            covariance, stretch = _read_low_rank(archive, COVARIANCE, centroid.size), 1.0
            if covariance is None:
                covariance, stretch = _read_full(archive, centroid.size)
            look = _read_look(archive, centroid.size)
            keys = *map(_mean_distance_key, METRICS), P99, COUNT
            scalars = {key: _read(archive, key, _is_scalar, "a scalar") for key in keys}
        known = {key: value.item() for key, value in scalars.items() if value is not None}
    except Exception as error:  # NumPy and zipfile report a damaged file by a dozen exception types
        raise AdapterError(
            "unreadable statistics", where=path, expected=f"an npz with {CENTROID} (1, D)", hint=str(error)
        ) from error
    means = {name: known[_mean_distance_key(name)] for name in METRICS if _mean_distance_key(name) in known}
    count = int(known[COUNT]) if COUNT in known else None
    known[P99] = stretch * known.get(P99, np.nan)
    if mahalanobis.__name__ in means:
        means[mahalanobis.__name__] *= stretch
    return Statistics(centroid.reshape(-1), means, covariance, known[P99], count, look)


def save_statistics(statistics: Statistics, path: Path) -> None:
    """Writes what `load_statistics` reads, as float32, the count as int64. Unknown values are left out."""
    moments: dict[str, Any] = {_mean_distance_key(name): mean for name, mean in statistics.mean_distances.items()}
    moments |= {CENTROID: statistics.centroid[None], P99: statistics.distance_p99}
    if statistics.covariance is not None:
        moments |= _compact(COVARIANCE, statistics.covariance)
    if statistics.look is not None:
        look = statistics.look
        moments |= {LOOK_MEAN: look.mean, LOOK_SCALE: look.scale, LOOK_LIMIT: look.distance_limit}
        moments |= _compact(LOOK, look.covariance)
    arrays = {key: np.asarray(value, np.float32) for key, value in moments.items() if not np.isnan(value).all()}
    if statistics.count is not None:
        arrays[COUNT] = np.asarray(statistics.count, np.int64)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _mean_distance_key(metric: str) -> str:
    return MEAN_DISTANCE if metric == EUCLIDEAN.name else f"{MEAN_DISTANCE}_{metric}"


def _compact(name: str, covariance: LowRankCovariance) -> dict[str, Any]:
    return {f"{name}_{part}": getattr(covariance, part) for part in PARTS}


def _read_low_rank(archive: zipfile.ZipFile, name: str, dimension: int) -> LowRankCovariance | None:
    """Reads a covariance in its compact form; None if the archive does not have it.

    Raises:
        ValueError: Parts of it are missing, their sizes differ, or the directions are not orthonormal.
    """

    def fits(shape: tuple[int, ...]) -> bool:
        return len(shape) == 2 and 1 <= shape[0] <= min(MAX_RANK, dimension) and shape[1] == dimension

    keys = [f"{name}_{part}" for part in PARTS]
    directions = _read(archive, keys[0], fits, f"(r, {dimension}), r at most {MAX_RANK} and {dimension}")
    if directions is None:
        return None
    rank = len(directions)
    variances = _read(archive, keys[1], lambda shape: shape == (rank,), f"({rank},)")
    residual = _read(archive, keys[2], _is_scalar, "a scalar")
    if variances is None or residual is None:
        raise ValueError(f"it has {keys[0]}, but not {keys[1]} and {keys[2]}")
    if not np.allclose(directions @ directions.T, np.eye(rank), rtol=0, atol=ORTHONORMAL):
        raise ValueError(f"{keys[0]} are not orthonormal")
    return LowRankCovariance(directions.astype(np.float32), variances, residual.reshape(()))


def _read_full(archive: zipfile.ZipFile, dimension: int) -> tuple[LowRankCovariance | None, float]:
    """Reads and approximates the matrix of older files; None if the archive does not have it.

    Returns:
        The covariance, and the factor by which distances of the training images grow in the approximation.
    """
    square = dimension, dimension
    covariance = _read(archive, COVARIANCE, lambda shape: shape == square, str(square))
    if covariance is None:
        return None, 1.0
    _check_covariance(covariance)
    approximate = LowRankCovariance.of(covariance)
    return approximate, _stretch(covariance, approximate)


def _stretch(exact: Array, approximate: LowRankCovariance) -> float:
    """Ratio of the root mean square Mahalanobis distances of embeddings with the covariance ``exact``."""
    rank, dimension = approximate.directions.shape
    added = max(SHRINKAGE * float(np.trace(exact)) / dimension, LEAST_VARIANCE)
    inverse = np.linalg.inv(exact + added * np.eye(dimension))
    square = dimension - added * float(np.trace(inverse))
    residual = (dimension - rank) * added / float(approximate.residual)
    approximate_square = dimension - added * float((1 / approximate.variances).sum()) - residual
    return float(np.sqrt(approximate_square / square)) if square > 0 else 1.0


def _read_look(archive: zipfile.ZipFile, dimension: int) -> LookStatistics | None:
    """Reads the statistics of looks; None if the archive does not have them."""
    longest = dimension + MAX_TEXTURE
    mean = _read(
        archive, LOOK_MEAN, lambda shape: len(shape) == 1 and dimension <= shape[0] <= longest,
        f"(L,), L from {dimension} to {longest}",
    )  # fmt: skip
    if mean is None:
        return None
    scale = _read(archive, LOOK_SCALE, lambda shape: shape == mean.shape, str(mean.shape))
    limit, covariance = _read(archive, LOOK_LIMIT, _is_scalar, "a scalar"), _read_low_rank(archive, LOOK, mean.size)
    if scale is None or limit is None or covariance is None:
        raise ValueError(f"it has {LOOK_MEAN}, but not all other parts of the look")
    return LookStatistics(mean.astype(np.float32), scale.astype(np.float32), covariance, limit.item())


def _read(archive: zipfile.ZipFile, key: str, fits: Callable[[tuple[int, ...]], bool], expected: str) -> Array | None:
    """Reads one array as float64 after a look at its header; None if the archive does not have it."""
    member = f"{key}.npy"
    if member not in archive.namelist():
        return None
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
    if dtype.kind not in "fiu" or not fits(shape):
        raise ValueError(f"{key} is {dtype} {shape}, expected real numbers {expected}")
    with archive.open(member) as stream:
        array: Array = npy.read_array(stream, allow_pickle=False).astype(np.float64)
    least, most = RANGES.get(key, (0.0, MAX_VALUE))
    if not ((array >= least) & (array <= most)).all():
        raise ValueError(f"{key} is not finite or out of range, expected {least:g} to {most:g}")
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Returns shape and dtype of the npy file that a stream begins with."""
    version = npy.read_magic(stream)
    if version not in READ_HEADER:
        raise ValueError(f"npy version {version} is not supported")
    shape, _, dtype = READ_HEADER[version](stream)
    return shape, dtype


def _is_scalar(shape: tuple[int, ...]) -> bool:
    return shape in ((), (1,))


def _is_vector(shape: tuple[int, ...]) -> bool:
    return len(shape) > 0 and shape[:-1] in ((), (1,)) and 1 <= shape[-1] <= MAX_DIMENSION


def _check_covariance(covariance: Array) -> None:
    """Raises ValueError unless the matrix is symmetric and, but for rounding, positive semidefinite."""
    variance = float(np.trace(covariance)) / len(covariance)
    if not np.allclose(covariance, covariance.T, rtol=1e-3, atol=NEGATIVE_VARIANCE * abs(variance)):
        raise ValueError(f"{COVARIANCE} is not symmetric")
    try:
        np.linalg.cholesky(covariance + max(NEGATIVE_VARIANCE * variance, 1e-12) * np.eye(len(covariance)))
    except np.linalg.LinAlgError as error:
        raise ValueError(f"{COVARIANCE} is not positive semidefinite") from error
