"""StreetWorld as training data: rendered once to folders, and read from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import TrainingError
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.images.files import read_rgb, read_unchanged
from semla_ros.progress import ProgressBar
from semla_ros.streetworld.dataset import sample, write_dataset
from semla_ros.streetworld.domains import DOMAINS


class RenderedFolders:
    """Data sets that `semla_ros.streetworld.dataset.write_dataset` wrote, one after the other.

    Args:
        root: Folder of the data sets.
        counts: Domain to number of samples, the first ones of ``root``/<domain>.

    Attributes:
        captions: Caption of each sample.

    Raises:
        TrainingError: A folder holds no complete data set.
    """

    name = "streetworld"

    def __init__(self, root: Path, counts: Mapping[str, int]) -> None:
        found = [(root / domain, _captions(root / domain)[:count]) for domain, count in counts.items()]
        self.captions = [line for _, lines in found for line in lines]
        self._files = [folder / f"images/{index:06d}.png" for folder, lines in found for index in range(len(lines))]

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the samples.

        Raises:
            ImageError: An image or label map is missing or damaged.
        """
        for path in self._files:
            yield LabelledImage(read_rgb(path), read_unchanged(path.parent.parent / "labels" / path.name))  # type: ignore[arg-type]


def render_datasets(root: Path, counts: Mapping[str, int], seed: int, processes: int) -> None:
    """Writes one data set per domain to ``root``/<domain>; images that exist already are not rendered again.

    Args:
        root: Folder of the data sets.
        counts: Domain to number of images.
        seed: Seed of the streets.
        processes: Number of data sets that are rendered at the same time.

    Raises:
        ConfigError: A folder holds samples of another domain, seed or size.
        ImageError: A file cannot be written.
    """
    with get_context("spawn").Pool(processes) as pool:
        jobs = [(root / domain, domain, count, seed) for domain, count in counts.items()]
        pool.starmap(write_dataset, jobs, chunksize=1)


def captioned(images: int, seed: int) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """Renders images of all domains and yields each one, (H, W, 3) uint8, with its caption.

    Args:
        images: Number of images per domain.
        seed: Seed of the streets.
    """
    for name, index in ProgressBar([(name, index) for name in DOMAINS for index in range(images)], desc="images"):
        rendered = sample(name, index, seed)
        yield rendered.rgb, rendered.caption


def _captions(folder: Path) -> list[str]:
    """Captions of the complete samples of a data set, which has one line per complete sample."""
    file = folder / "captions.txt"
    lines = file.read_text().splitlines() if file.is_file() else []
    if not lines:
        hint = "Delete the folder and run the command again: the data set is rendered anew."
        raise TrainingError("no complete data set", where=folder, expected="captions.txt, images/, labels/", hint=hint)
    return lines
