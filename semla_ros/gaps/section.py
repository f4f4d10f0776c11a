"""What a report says about one gap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.gaps import Gap, Gaps
from semla_ros.adaptation.retrieval import checked
from semla_ros.errors import ImageError
from semla_ros.images.data_uri import data_uri
from semla_ros.images.files import read_rgb
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.pipeline.gap_record import GapRecord

COLORS = ("#c2571a", "#0b7a75", "#5560b0", "#b3261e", "#8a745a", "#2f639c", "#5f9e4e", "#e6b23c")
PICTURES = 6  # examples that are shown
NEIGHBOURS = 3

Describe = Callable[[NDArray[np.float64]], str]


@dataclass(frozen=True)
class Neighbour:
    """An adapter near a gap.

    Attributes:
        name: Its name.
        distance: Distance from the centroid of the gap to that of the adapter, in the metric of the library.
    """

    name: str
    distance: float


@dataclass(frozen=True)
class Section:
    """A gap as the report shows it.

    Attributes:
        gap: The gap.
        number: Its number, from 1; the gap with the most images comes first.
        neighbours: Nearest adapters, nearest first.
        closed: Whether an adapter of the library fits the centroid today.
        words: Words that describe the images; empty if none are known.
        images: Files of the examples, in order of time.
        lost: Number of examples whose files are missing or damaged.
        folder: Name of the folder with the training set.
    """

    gap: Gap
    number: int
    neighbours: Sequence[Neighbour]
    closed: bool
    words: str
    images: Sequence[Path]
    lost: int
    folder: str

    @property
    def color(self) -> str:
        """Colour of the gap in the timeline, as #rrggbb."""
        return COLORS[(self.number - 1) % len(COLORS)]

    @property
    def image_uris(self) -> list[str]:
        """A few examples, spread evenly over time, as data URIs."""
        step = max(1, -(-len(self.images) // PICTURES))
        return [data_uri(file.read_bytes(), "image/jpeg") for file in self.images[::step]]


def sections(gaps: Gaps, record: GapRecord, library: AdapterLibrary, describe: Describe) -> list[Section]:
    """Returns a section for each gap, the one with the most images first.

    Args:
        gaps: The gaps.
        record: Their images.
        library: Adapters to compare with.
        describe: Returns words for a centroid (D,), or an empty text.

    Raises:
        EmbeddingError: The record was made with another navigator.
    """
    ordered = sorted(gaps.gaps, key=lambda gap: -gap.count)
    return [_section(gap, number, record, library, describe) for number, gap in enumerate(ordered, 1)]


def _is_readable(file: Path) -> bool:
    try:
        read_rgb(file)
    except ImageError:
        return False
    return True


def _section(gap: Gap, number: int, record: GapRecord, library: AdapterLibrary, describe: Describe) -> Section:
    centroid = checked(gap.centroid, library.index.centroids.shape[1])
    rows, distances = library.index.nearest(centroid, NEIGHBOURS)
    near = [Neighbour(library.names[row], float(distance)) for row, distance in zip(rows, distances, strict=True)]
    files = [record.image(stamp) for stamp in sorted(gap.examples)]
    images = [file for file in files if _is_readable(file)]
    fits = library.is_in_distribution(centroid)
    return Section(gap, number, near, fits, describe(centroid), images, len(files) - len(images), f"gap_{number}")
