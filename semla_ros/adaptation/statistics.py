"""What is known of the images an adapter was trained on, in embedding space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import AdapterError

Array = NDArray[np.float64]
SHRINKAGE = 0.05  # of a covariance towards a sphere, so that few images in many dimensions can be inverted
PERCENTILE = 99  # percentile of the training images
MOMENTS = "train_average_embedding", "mean_distance", "covariance", "distance_p99"


@dataclass(frozen=True)
class Statistics:
    """Moments of the embeddings of a training set. Official files hold the centroid alone.

    Attributes:
        centroid: Mean embedding (D,), unnormalised.
        mean_distance: Mean Euclidean distance to it; NaN where the file does not say.
        covariance: (D, D); None where the file does not say.
        distance_p99: 99th percentile of the training images' Mahalanobis distances; NaN where the file does not say.
    """

    centroid: Array
    mean_distance: float = np.nan
    covariance: Array | None = None
    distance_p99: float = np.nan

    @classmethod
    def of(cls, embeddings: Array) -> Statistics:
        """Of the embeddings (N, D) of a training set."""
        centroid = embeddings.mean(0)
        offsets = embeddings - centroid
        mean_distance = float(np.linalg.norm(offsets, axis=1).mean())
        open_ended = cls(centroid, mean_distance, offsets.T @ offsets / len(offsets))
        distance_p99 = float(np.percentile([open_ended.mahalanobis(e) for e in embeddings], PERCENTILE))
        return cls(centroid, mean_distance, open_ended.covariance, distance_p99)

    def mahalanobis(self, embedding: Array) -> float:
        """Distance (D,) to the centroid in deviations of the training set; NaN without a covariance."""
        if self.covariance is None:
            return np.nan
        offset = embedding - self.centroid
        return float(np.sqrt(offset @ self._precision @ offset))

    def is_in_distribution(self, embedding: Array) -> bool:
        """Whether an embedding (D,) lies no farther out than nearly all training images; True if unknown."""
        return not self.mahalanobis(embedding) > self.distance_p99

    @cached_property
    def _precision(self) -> Array:
        assert self.covariance is not None
        dimension = len(self.covariance)
        sphere = max(np.trace(self.covariance) / dimension, 1e-12) * np.eye(dimension)
        inverse: Array = np.linalg.inv(self.covariance + SHRINKAGE * sphere)
        return inverse

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Reads ``<name>_statistics.npz``; the official single key is enough.

        Raises:
            AdapterError: No such file, no npz, no or a wrong centroid.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                moments = {key: stored[key].astype(np.float64) for key in MOMENTS if key in stored}
            centroid = moments["train_average_embedding"].reshape(-1)
            mean_distance, distance_p99 = (float(moments.get(key, np.nan)) for key in ("mean_distance", "distance_p99"))
        except Exception as error:  # NumPy and zipfile tell a damaged file in a dozen ways
            raise AdapterError(
                "unreadable statistics", where=path, expected="an npz with train_average_embedding (1, D)",
                hint=str(error),
            ) from error  # fmt: skip
        if not np.isfinite(centroid).all():
            raise AdapterError("centroid is not finite", where=path)
        covariance = moments.get("covariance")
        square = (len(centroid), len(centroid))
        if covariance is not None and (covariance.shape != square or not np.isfinite(covariance).all()):
            raise AdapterError("unusable covariance", where=path, got=covariance.shape, expected=f"finite {square}")
        return cls(centroid, mean_distance, covariance, distance_p99)

    def save(self, path: Path) -> None:
        """Writes what `load` reads, float32."""
        moments = {
            "train_average_embedding": self.centroid[None],
            "mean_distance": self.mean_distance,
            "distance_p99": self.distance_p99,
        }
        if self.covariance is not None:
            moments["covariance"] = self.covariance
        np.savez(path, **{key: np.asarray(value, np.float32) for key, value in moments.items()})  # type: ignore[arg-type]
