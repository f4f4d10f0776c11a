"""StreetWorld as a data set: rendered once, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator

from semla_ros.streetworld.dataset import Sample, sample

HELD_OUT_SEED = 1_000_001  # the training seeds are small numbers


class Rendered:
    """A domain's images of streets that no model was trained on.

    Args:
        domain: One of `semla_ros.streetworld.domains.DOMAINS`.
        images: Their number.
        seed: Of the streets.
    """

    def __init__(self, domain: str, images: int, seed: int = HELD_OUT_SEED) -> None:
        self.name, self.images, self.seed = domain, images, seed
        self._samples: list[Sample] = []

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[Sample]:
        for index in range(self.images):
            if index == len(self._samples):
                self._samples.append(sample(self.name, index, self.seed))
            yield self._samples[index]
