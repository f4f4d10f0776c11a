"""What travels between the processes of a batch run: images, results, and what could not be read."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.images.frame import Frame

Batch = dict[str, NDArray[Any]]
COLUMN = "row"


@dataclass(frozen=True)
class Reading:
    """An image to embed or to segment.

    Attributes:
        source: Number of its source.
        number: Number of the image in the source.
        name: Name for its files.
        frame: The image.
        cluster: Number of its cluster; -1 before clustering.
        size: Size of its own file, bytes; 0 for an image in a bag or a video.
    """

    source: int
    number: int
    name: str
    frame: Frame
    cluster: int
    size: int = 0


@dataclass(frozen=True)
class Embedded:
    """The embedding of an image: float32, as bytes. The other attributes are those of `Reading`."""

    source: int
    number: int
    name: str
    stamp_ns: int
    embedding: bytes
    size: int = 0


@dataclass(frozen=True)
class Segmented:
    """A segmented image.

    Attributes:
        source: Number of its source.
        number: Number of the image in the source.
        mask: PNG of the class ids.
        confidence: PNG of round(255 p).
        fused: Whether the worker fused the mixture of the cluster for this image.
    """

    source: int
    number: int
    mask: bytes
    confidence: bytes
    fused: bool


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be read, embedded or segmented, and why."""

    source: int
    number: int
    error: str


@dataclass(frozen=True)
class End:
    """The end of a source that was read whole, and its number of images, those that were skipped included."""

    source: int
    total: int


Row = Reading | Embedded | Segmented | Skipped | End


def packed(rows: Sequence[Row]) -> Batch:
    """Rows as a batch of Ray Data. They are pickled: only processes of the same run exchange them."""
    column = np.empty(len(rows), object)
    column[:] = [pickle.dumps(row) for row in rows]
    return {COLUMN: column}


def unpacked(batch: Batch) -> Iterator[Row]:
    """Yields the rows of a batch."""
    for data in batch[COLUMN]:
        yield pickle.loads(data)
