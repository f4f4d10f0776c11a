"""StreetWorld as training data: rendered once to a folder, kept in memory at the size that the networks take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from semla_ros.errors import TrainingError
from semla_ros.images.files import read_rgb, read_unchanged
from semla_ros.modeling.catseg.architecture import CLIP_MEAN, CLIP_STD
from semla_ros.streetworld.dataset import write_dataset


@dataclass(frozen=True)
class Images:
    """Labelled images in memory.

    Attributes:
        images: (N, S, S, 3) uint8, RGB.
        labels: Class ids, (N, s, s) uint8; 255 is unlabelled.
        captions: N captions.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, list[str]]:
        """Draws a batch with replacement and mirrors each image with probability 0.5.

        Args:
            size: Number of samples, B.
            generator: Random generator of the draw.

        Returns:
            Normalised pixels (B, 3, S, S) float32, class ids (B, s, s) int64 and B captions.
        """
        chosen = torch.randint(len(self), (size,), generator=generator).numpy()
        pixels = normalised(self.images[chosen])
        labels = torch.from_numpy(self.labels[chosen]).long()
        mirrored = torch.rand(size, generator=generator) < 0.5
        pixels[mirrored] = pixels[mirrored].flip(-1)
        labels[mirrored] = labels[mirrored].flip(-1)
        return pixels, labels, [self.captions[i] for i in chosen]


def normalised(images: NDArray[np.uint8]) -> Tensor:
    """Normalises images (N, H, W, 3) uint8 with CLIP's mean and standard deviation to (N, 3, H, W) float32."""
    mean, std = (np.array(values, np.float32) for values in (CLIP_MEAN, CLIP_STD))
    pixels = (images.astype(np.float32) - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def render_datasets(root: Path, counts: dict[str, int], seed: int, processes: int) -> None:
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


def load_images(
    folders: list[Path],
    image_side: int,
    label_side: int,
    interpolation: int = cv2.INTER_LINEAR,
    limit: int | None = None,
) -> Images:
    """Reads data sets that `write_dataset` wrote, and resizes images and label maps to squares.

    Args:
        folders: Folders of the data sets, which are concatenated.
        image_side: Side length S of the images, pixels.
        label_side: Side length s of the label maps, pixels.
        interpolation: Interpolation of the images, one of OpenCV's. INTER_LINEAR is what the segmenter uses, INTER_AREA
            is close to the antialiased resize of the navigator.
        limit: Largest number of samples per data set; None reads all.

    Raises:
        TrainingError: A folder holds no complete data set.
        ImageError: An image or label map is missing or damaged.
    """
    captions = [_captions(folder)[:limit] for folder in folders]
    paths = [
        folder / f"images/{index:06d}.png"
        for folder, lines in zip(folders, captions, strict=True)
        for index in range(len(lines))
    ]
    images = np.empty((len(paths), image_side, image_side, 3), np.uint8)
    labels = np.empty((len(paths), label_side, label_side), np.uint8)

    def read(index: int) -> None:
        path = paths[index]
        images[index] = cv2.resize(read_rgb(path), (image_side, image_side), interpolation=interpolation)
        label = read_unchanged(path.parent.parent / "labels" / path.name)
        labels[index] = cv2.resize(label, (label_side, label_side), interpolation=cv2.INTER_NEAREST)

    with ThreadPoolExecutor(2) as pool:
        list(tqdm(pool.map(read, range(len(paths))), desc="reading", total=len(paths), mininterval=5))
    return Images(images, labels, [line for lines in captions for line in lines])


def _captions(folder: Path) -> list[str]:
    """Captions of the complete samples of a data set, which has one line per complete sample."""
    file = folder / "captions.txt"
    lines = file.read_text().splitlines() if file.is_file() else []
    if not lines:
        hint = "Delete the folder and run the command again: the data set is rendered anew."
        raise TrainingError("no complete data set", where=folder, expected="captions.txt, images/, labels/", hint=hint)
    return lines
