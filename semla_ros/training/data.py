"""StreetWorld as training data: rendered once to a folder, held in memory at the sizes the networks take."""

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

from semla_ros.errors import ImageError
from semla_ros.modeling.catseg.architecture import CLIP_MEAN, CLIP_STD
from semla_ros.streetworld.dataset import write_dataset


@dataclass(frozen=True)
class Images:
    """A labelled data set in memory.

    Attributes:
        images: (N, S, S, 3) uint8.
        labels: (N, s, s) uint8, 255 where unlabelled.
        captions: N sentences.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, size: int, draw: torch.Generator) -> tuple[Tensor, Tensor, list[str]]:
        """Draws normalised pixels (B, 3, S, S), labels (B, s, s) int64 and captions; half of them mirrored."""
        chosen = torch.randint(len(self), (size,), generator=draw).numpy()
        pixels = normalised(self.images[chosen])
        labels = torch.from_numpy(self.labels[chosen]).long()
        mirrored = torch.rand(size, generator=draw) < 0.5
        pixels[mirrored] = pixels[mirrored].flip(-1)
        labels[mirrored] = labels[mirrored].flip(-1)
        return pixels, labels, [self.captions[i] for i in chosen]


def normalised(images: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 of CLIP's mean and deviation."""
    mean, std = (np.array(values, np.float32) for values in (CLIP_MEAN, CLIP_STD))
    pixels = (images.astype(np.float32) - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def render_datasets(root: Path, counts: dict[str, int], seed: int, processes: int) -> None:
    """Writes a data set a domain below ``root``, several at a time; what is there already stays."""
    with get_context("spawn").Pool(processes) as pool:
        jobs = [(root / domain, domain, count, seed) for domain, count in counts.items()]
        pool.starmap(write_dataset, jobs, chunksize=1)


def load_images(
    folders: list[Path],
    image_side: int,
    label_side: int,
    interpolation: int = cv2.INTER_LINEAR,
    most: int | None = None,
) -> Images:
    """Reads data sets written by `write_dataset`, images and label maps squashed to squares.

    Args:
        folders: Data sets, put one behind the other.
        image_side: S.
        label_side: s.
        interpolation: OpenCV's, for the images; linear is what the segmenter does, area comes close to the
            navigator's antialiased resize.
        most: Images to read of each data set; all by default.
    """
    paths = [path for folder in folders for path in sorted((folder / "images").glob("*.png"))[:most]]
    images = np.empty((len(paths), image_side, image_side, 3), np.uint8)
    labels = np.empty((len(paths), label_side, label_side), np.uint8)

    def read(index: int) -> None:
        path = paths[index]
        bgr = cv2.resize(_read(path, cv2.IMREAD_COLOR), (image_side, image_side), interpolation=interpolation)
        images[index] = bgr[..., ::-1]
        label = _read(path.parent.parent / "labels" / path.name, cv2.IMREAD_GRAYSCALE)
        labels[index] = cv2.resize(label, (label_side, label_side), interpolation=cv2.INTER_NEAREST)

    with ThreadPoolExecutor(2) as pool:
        list(tqdm(pool.map(read, range(len(paths))), desc="reading", total=len(paths), mininterval=5))
    captions = [line for folder in folders for line in (folder / "captions.txt").read_text().splitlines()[:most]]
    return Images(images, labels, captions)


def _read(path: Path, flag: int) -> cv2.typing.MatLike:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise ImageError("unreadable image", where=path)
    return image
