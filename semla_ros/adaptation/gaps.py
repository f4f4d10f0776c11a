"""Where a library is thin: images that no adapter fits, grouped by similarity while they arrive, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.images.frame import SECOND_NS

Vector = NDArray[np.float64]
MAX_BINS = 600  # of the timeline; its bins double in width when there are more


@dataclass(eq=False)
class Gap:
    """A group of similar images that no adapter fits.

    Attributes:
        centroid: Mean embedding (D,).
        count: Number of images.
        first_ns: Stamp of the earliest image, nanoseconds.
        last_ns: Stamp of the latest image, nanoseconds.
        examples: Stamps of the images that are kept, in order of arrival.
        stride: One in so many images is kept.
        bins: Bin of the timeline to number of images.
    """

    centroid: Vector
    count: int
    first_ns: int
    last_ns: int
    examples: list[int] = field(default_factory=list)
    stride: int = 1
    bins: dict[int, int] = field(default_factory=dict)

    def thin(self) -> list[int]:
        """Gives up every other example and keeps half as many from now on. Returns the stamps that are given up."""
        dropped, self.examples = self.examples[1::2], self.examples[::2]
        self.stride *= 2
        return dropped


@dataclass
class Gaps:
    """All gaps of a run, with a timeline.

    An image joins the nearest gap within a radius, or begins a new one. If that makes too many, the two nearest gaps
    become one. Examples are spread evenly over the images of a gap: when there are too many, every other one is given
    up, and half as many are kept from then on.

    Attributes:
        max_gaps: Largest number of gaps.
        max_examples: Largest number of examples of a gap.
        seen: Number of embedded images, those that an adapter fits included.
        gaps: The gaps, in order of their first image.
        bin_s: Width of the bins of the timeline, seconds. Bin b begins at b * bin_s after 1970.
        bins: Bin of the timeline to number of embedded images.
    """

    max_gaps: int
    max_examples: int
    seen: int = 0
    gaps: list[Gap] = field(default_factory=list)
    bin_s: int = 1
    bins: dict[int, int] = field(default_factory=dict)

    @property
    def dimension(self) -> int | None:
        """Dimension D of the embeddings; None before the first gap."""
        return self.gaps[0].centroid.size if self.gaps else None

    @property
    def count(self) -> int:
        """Number of images that no adapter fits."""
        return sum(gap.count for gap in self.gaps)

    def see(self, stamp_ns: int) -> None:
        """Counts an embedded image, whether or not an adapter fits it."""
        self.seen += 1
        number = self._bin(stamp_ns)
        self.bins[number] = self.bins.get(number, 0) + 1
        while max(self.bins) - min(self.bins) >= MAX_BINS:
            self.bin_s *= 2
            self.bins = _doubled(self.bins)
            for gap in self.gaps:
                gap.bins = _doubled(gap.bins)

    def add(self, embedding: Vector, stamp_ns: int, radius: float) -> tuple[bool, list[int]]:
        """Adds an image that no adapter fits, after `see`.

        Args:
            embedding: Embedding (D,).
            stamp_ns: Stamp of the image, nanoseconds.
            radius: Euclidean distance from the centroid of a gap up to which an image belongs to it.

        Returns:
            Whether the image is to be kept as an example, and stamps of the examples that are given up for it.
        """
        gap = self._nearest(embedding, radius) or self._begin(embedding, stamp_ns)
        gap.count += 1
        gap.centroid = gap.centroid + (embedding - gap.centroid) / gap.count
        gap.first_ns, gap.last_ns = min(gap.first_ns, stamp_ns), max(gap.last_ns, stamp_ns)
        number = self._bin(stamp_ns)
        gap.bins[number] = gap.bins.get(number, 0) + 1
        is_known = any(stamp_ns in each.examples for each in self.gaps)  # a recording that is played again
        keeps = (gap.count - 1) % gap.stride == 0 and not is_known
        if keeps:
            gap.examples.append(stamp_ns)
        if len(self.gaps) > self.max_gaps:
            self._merge_nearest()
        dropped = [stamp for each in self.gaps for stamp in self._thinned(each)]
        return keeps and stamp_ns not in dropped, dropped

    def thin(self) -> list[int]:
        """Gives up every other example of the gap that has the most. Returns their stamps; none if none is left."""
        largest = max(self.gaps, key=lambda gap: len(gap.examples), default=None)
        if largest is None or len(largest.examples) < 2:
            return []
        return largest.thin()

    def forget(self, stamp_ns: int) -> None:
        """Gives up an example that could not be written."""
        for gap in self.gaps:
            gap.examples = [stamp for stamp in gap.examples if stamp != stamp_ns]

    def as_json(self) -> dict[str, Any]:
        """Returns the state as values that JSON can hold."""
        state = asdict(self)
        for gap in state["gaps"]:
            gap["centroid"] = [round(float(value), 5) for value in gap["centroid"]]
        return state

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Gaps:
        """Restores a state from `as_json`.

        Raises:
            KeyError, TypeError, ValueError: It is not such a state.
        """
        gaps = [_gap(each) for each in state["gaps"]]
        if len({gap.centroid.size for gap in gaps}) > 1:
            raise ValueError("centroids differ in dimension")
        restored = cls(**{**state, "gaps": gaps, "bins": _whole(state["bins"])})
        _check_integers(restored.max_gaps, restored.max_examples, restored.bin_s, least=1)
        _check_integers(restored.seen, least=0)
        return restored

    def _bin(self, stamp_ns: int) -> int:
        return stamp_ns // (self.bin_s * SECOND_NS)

    def _nearest(self, embedding: Vector, radius: float) -> Gap | None:
        distances = [float(np.linalg.norm(gap.centroid - embedding)) for gap in self.gaps]
        nearest = int(np.argmin(distances)) if distances else -1
        return self.gaps[nearest] if distances and distances[nearest] <= radius else None

    def _begin(self, embedding: Vector, stamp_ns: int) -> Gap:
        self.gaps.append(Gap(embedding, 0, stamp_ns, stamp_ns))
        return self.gaps[-1]

    def _merge_nearest(self) -> None:
        """Makes one gap of the two nearest ones."""
        one, other = min(self._pairs(), key=lambda pair: float(np.linalg.norm(pair[0].centroid - pair[1].centroid)))
        self.gaps.remove(other)
        count = one.count + other.count
        one.centroid = (one.count * one.centroid + other.count * other.centroid) / count
        one.count, one.stride = count, max(one.stride, other.stride)
        one.first_ns, one.last_ns = min(one.first_ns, other.first_ns), max(one.last_ns, other.last_ns)
        one.examples = sorted(one.examples + other.examples)
        one.bins = {b: one.bins.get(b, 0) + other.bins.get(b, 0) for b in one.bins.keys() | other.bins.keys()}

    def _pairs(self) -> Iterator[tuple[Gap, Gap]]:
        return ((one, other) for i, one in enumerate(self.gaps) for other in self.gaps[i + 1 :])

    def _thinned(self, gap: Gap) -> list[int]:
        dropped: list[int] = []
        while len(gap.examples) > self.max_examples:
            dropped += gap.thin()
        return dropped


def _doubled(bins: Mapping[int, int]) -> dict[int, int]:
    """The same counts in bins of twice the width."""
    out: dict[int, int] = {}
    for number, count in bins.items():
        out[number // 2] = out.get(number // 2, 0) + count
    return out


def _gap(state: Mapping[str, Any]) -> Gap:
    """Restores a gap. Its examples are names of files, which may be deleted: they must be integers."""
    centroid = np.array(state["centroid"], np.float64)
    if centroid.ndim != 1 or not np.isfinite(centroid).all():
        raise ValueError(f"centroid {centroid.shape}")
    gap = Gap(**{**state, "centroid": centroid, "bins": _whole(state["bins"])})
    _check_integers(gap.count, gap.stride, least=1)
    _check_integers(gap.first_ns, gap.last_ns, *gap.examples)
    return gap


def _check_integers(*values: object, least: float = -math.inf) -> None:
    if wrong := [value for value in values if type(value) is not int or value < least]:
        raise ValueError(f"{wrong[0]!r:.40} is no possible number")


def _whole(bins: Mapping[str, int]) -> dict[int, int]:
    return {int(number): int(count) for number, count in bins.items()}
