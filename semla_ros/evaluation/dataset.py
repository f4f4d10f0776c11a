"""What an evaluation reads: labelled images of one domain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its ground truth.

    Attributes:
        rgb: (H, W, 3) uint8, RGB.
        labels: Class indices, (H, W) uint8; values that are no index of a class, such as 255, are not evaluated.
        instances: Instances of things, (H, W) uint16, numbered from 1 per image. Things without an
            instance (0) are crowds: they have a class, but are no segment. None if the instances are unknown.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16] | None = None


class Dataset(Protocol):
    """Labelled images of one domain. Every iteration gives the same images in the same order."""

    @property
    def name(self) -> str:
        """Name of the domain; the domain's own adapter has the same name."""

    def __len__(self) -> int:
        """Number of images."""

    def __iter__(self) -> Iterator[LabelledImage]: ...


@runtime_checkable
class PanopticDataset(Dataset, Protocol):
    """Labelled images of one domain, all of them with instances."""

    @property
    def things(self) -> tuple[bool, ...]:
        """Whether each class is a thing, which has instances."""
