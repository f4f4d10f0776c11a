"""Samples of a domain, in memory or as a folder of images, label maps and captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semla_ros.errors import ConfigError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.captions import caption
from semla_ros.streetworld.domains import domain_named
from semla_ros.streetworld.image import image
from semla_ros.streetworld.layout import layout
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import Scene

Size = tuple[int, int]
Layout = Literal["plain", "cityscapes"]
FILES = {
    "plain": ("images/{1:06d}.png", "labels/{1:06d}.png"),
    "cityscapes": (
        "leftImg8bit/val/{0}/{0}_{1:06d}_leftImg8bit.png",
        "gtFine/val/{0}/{0}_{1:06d}_gtFine_labelTrainIds.png",
    ),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: Class ids in the order of `CLASSES`, (H, W) uint8.
        depth: Metres, (H, W) float32; the sky is at 1000.
        caption: An English sentence.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    caption: str


def sample(domain: str, index: int, seed: int, size: Size = (240, 384)) -> Sample:
    """Renders a sample; (seed, domain, index) decide every byte of it.

    Args:
        domain: One of `DOMAINS`.
        index: Number of the sample within the domain and seed.
        seed: Other seeds give other streets: hold some out for evaluation.
        size: (height, width), pixels.

    Raises:
        ConfigError: There is no such domain.
    """
    place = domain_named(domain)
    rng = Random(f"sample/{seed}/{domain}/{index}")
    street = rng.randrange(2**62)
    plan = layout(place.place, street)
    pose = Pose(
        s=rng.uniform(0, 1000), u=plan.lane + rng.uniform(-0.5, 0.5), h=rng.uniform(1.3, 1.55),
        yaw=rng.gauss(0, 0.045), pitch=rng.gauss(-0.01, 0.02),
    )  # fmt: skip
    layers = render(Scene(plan, street, pose, rng.uniform(0, 60)), Camera.of_size(size, rng.uniform(58, 72)))
    shot = image(layers, place.sample(rng), np.random.default_rng(street), street % 2**32)
    return Sample(shot, layers.label, layers.depth, caption(plan, layers.seen, place, rng))


def write_dataset(
    out: Path, domain: str, count: int, seed: int, size: Size = (240, 384), layout: Layout = "plain"
) -> None:
    """Writes images, label maps and captions.txt; goes on where an earlier run ended.

    The plain layout is images/<index>.png and labels/<index>.png, class ids in the order of `CLASSES`; the other is
    Cityscapes' (leftImg8bit, gtFine, split val), with its ids.

    Args:
        out: The dataset's folder; made where it is missing.
        domain: One of `DOMAINS`.
        count: Number of samples.
        seed: Of the samples, see `sample`.
        size: (height, width), pixels.
        layout: Of files and ids.

    Raises:
        ConfigError: There is no such domain, or the folder holds samples of another domain, seed or size.
    """
    domain_named(domain)
    captions = out / "captions.txt"
    for file in _files(out, layout, domain, 0):
        file.parent.mkdir(parents=True, exist_ok=True)
    lines = captions.read_text().splitlines()[:count] if captions.exists() else []
    if lines and not _same(_files(out, layout, domain, 0)[1], _ids(sample(domain, 0, seed, size).labels, layout)):
        raise ConfigError("dataset of another domain, seed or size", where=out, hint="Write to another folder")
    captions.write_text("".join(f"{line}\n" for line in lines))
    with captions.open("a") as sentences:
        for index in tqdm(range(len(lines), count), desc=domain, initial=len(lines), total=count):
            shot = sample(domain, index, seed, size)
            image, label = _files(out, layout, domain, index)
            cv2.imwrite(str(image), shot.rgb[..., ::-1])
            cv2.imwrite(str(label), _ids(shot.labels, layout))
            sentences.write(f"{shot.caption}\n")
            sentences.flush()


def _files(out: Path, layout: Layout, domain: str, index: int) -> tuple[Path, Path]:
    image, label = (out / name.format(domain, index) for name in FILES[layout])
    return image, label


def _ids(labels: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Label maps in the layout's ids."""
    train_ids = np.array([list(CITYSCAPES_COLORS).index(name) for name in CLASSES], np.uint8)
    return labels if layout == "plain" else train_ids[labels]


def _same(path: Path, labels: NDArray[np.uint8]) -> bool:
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return stored is not None and np.array_equal(stored, labels)
