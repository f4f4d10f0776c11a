"""StreetWorld as an evaluation data set: rendered once and kept in memory."""

from __future__ import annotations

from collections.abc import Iterator

from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.streetworld import CLASSES, THINGS
from semla_ros.streetworld.dataset import sample

HELD_OUT_SEED = 1_000_001  # the seeds of training are small numbers


class RenderedDataset:
    """Rendered images of one domain with instances, of streets that no model was trained on.

    Args:
        domain: Name of the domain, one of `semla_ros.streetworld.domains.DOMAINS`.
        images: Number of images.
        seed: Seed of the streets.

    Attributes:
        things: Whether each class is a thing, which has instances.
    """

    things = tuple(name in THINGS for name in CLASSES)

    def __init__(self, domain: str, images: int, seed: int = HELD_OUT_SEED) -> None:
        self.name, self.images, self.seed = domain, images, seed
        self._rendered: list[LabelledImage] = []

    def __len__(self) -> int:
        return self.images

    def __iter__(self) -> Iterator[LabelledImage]:
        """Renders each image in the first iteration.

        Raises:
            ConfigError: There is no such domain.
        """
        for index in range(self.images):
            if index == len(self._rendered):
                rendered = sample(self.name, index, self.seed)
                self._rendered.append(LabelledImage(rendered.rgb, rendered.labels, rendered.instances))
            yield self._rendered[index]
