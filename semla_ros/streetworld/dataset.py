"""Samples of a domain, in memory or as a folder of pictures, label maps and captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semla_ros.errors import ConfigError
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.captions import caption
from semla_ros.streetworld.domains import domain_named
from semla_ros.streetworld.layout import layout
from semla_ros.streetworld.picture import picture
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import Scene

Size = tuple[int, int]
NAME = "{:06d}.png"


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture.

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
    shot = picture(layers, place.sample(rng), np.random.default_rng(street), street % 2**32)
    return Sample(shot, layers.label, layers.depth, caption(plan, layers.seen, place, rng))


def write_dataset(out: Path, domain: str, count: int, seed: int, size: Size = (240, 384)) -> None:
    """Writes images/<index>.png, labels/<index>.png and captions.txt; goes on where an earlier run ended.

    Args:
        out: The dataset's folder; made where it is missing.
        domain: One of `DOMAINS`.
        count: Number of samples.
        seed: Of the samples, see `sample`.
        size: (height, width), pixels.

    Raises:
        ConfigError: There is no such domain, or the folder holds samples of another domain, seed or size.
    """
    domain_named(domain)
    images, labels, captions = out / "images", out / "labels", out / "captions.txt"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    lines = captions.read_text().splitlines()[:count] if captions.exists() else []
    if lines and not _same(labels / NAME.format(0), sample(domain, 0, seed, size).labels):
        raise ConfigError("dataset of another domain, seed or size", where=out, hint="Write to another folder")
    captions.write_text("".join(f"{line}\n" for line in lines))
    with captions.open("a") as sentences:
        for index in tqdm(range(len(lines), count), desc=domain, initial=len(lines), total=count):
            shot = sample(domain, index, seed, size)
            cv2.imwrite(str(images / NAME.format(index)), shot.rgb[..., ::-1])
            cv2.imwrite(str(labels / NAME.format(index)), shot.labels)
            sentences.write(f"{shot.caption}\n")
            sentences.flush()


def _same(path: Path, labels: NDArray[np.uint8]) -> bool:
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return stored is not None and np.array_equal(stored, labels)
