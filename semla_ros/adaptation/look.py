"""Statistics of how training images look: embedding and texture together, for the out-of-distribution test.

A navigator is trained to ignore what tells one camera from another, so that real images and rendered ones may have the
same embedding. Their textures differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.covariance import LowRankCovariance, Single

Array = NDArray[np.float64]
PERCENTILE = 97  # an image beyond it is often inside another adapter's: in all, 1 to 2 % are beyond every one
SHRINKAGE = 0.3  # larger than for embeddings alone: there are as many values as training images
LEAST_SCALE = 1e-3
FEWEST_IN_HALF = 5


@dataclass(frozen=True)
class LookStatistics:
    """Normal distribution of looks; a look is an embedding and a texture as one vector (L,), L = D + F.

    Attributes:
        mean: Mean look of the training images, (L,) float32.
        scale: Standard deviation of each value, (L,) float32, above 0.
        covariance: Covariance of the looks after division by ``scale``.
        distance_limit: Largest Mahalanobis distance that counts as near: the 97th percentile of those of images that
            the mean and the covariance were not computed of.
    """

    mean: Single
    scale: Single
    covariance: LowRankCovariance
    distance_limit: float = np.nan

    @classmethod
    def of(cls, looks: Array) -> LookStatistics:
        """Computes the statistics of looks (N, L), N at least 1.

        The percentile comes from two halves of the looks, each measured by the statistics of the other half: an image
        is nearer to statistics that it is part of than a new image is. Fewer than `FEWEST_IN_HALF` images make no
        statistics, so that a small training set is measured by those of all its images.
        """
        whole, even, odd = cls._moments(looks), looks[::2], looks[1::2]
        if len(odd) >= FEWEST_IN_HALF:
            distances = np.concatenate([cls._moments(even).distances(odd), cls._moments(odd).distances(even)])
        else:
            distances = whole.distances(looks)
        return cls(whole.mean, whole.scale, whole.covariance, float(np.percentile(distances, PERCENTILE)))

    @classmethod
    def _moments(cls, looks: Array) -> LookStatistics:
        mean, scale = looks.mean(0), np.maximum(looks.std(0), LEAST_SCALE)
        offsets = (looks - mean) / scale
        covariance = LowRankCovariance.of(offsets.T @ offsets / len(offsets), shrinkage=SHRINKAGE)
        return cls(mean.astype(np.float32), scale.astype(np.float32), covariance)

    @property
    def nbytes(self) -> int:
        """Size of the arrays, bytes."""
        return self.mean.nbytes + self.scale.nbytes + self.covariance.nbytes

    def distances(self, looks: Array) -> Array:
        """Returns the Mahalanobis distances of looks (N, L) to the mean, (N,)."""
        return self.covariance.distances((looks - self.mean) / self.scale)

    def contains(self, look: Array) -> bool:
        """Returns whether a look (L,) is as near to the mean as 97 % of new images of the same kind."""
        return not self.distances(look[None]).item() > self.distance_limit
