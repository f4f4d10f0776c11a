"""Labelled images of a domain: in memory, or as a folder of images, ground truth and captions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ConfigError, ImageError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.images.files import read_rgb, read_unchanged, write_image, writing
from semla_ros.images.panoptic import to_rgb
from semla_ros.progress import ProgressBar
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.captions import caption
from semla_ros.streetworld.capture import capture
from semla_ros.streetworld.domains import domain_named
from semla_ros.streetworld.layout import street_layout
from semla_ros.streetworld.panoptic import segment_ids, write_annotations
from semla_ros.streetworld.render import render
from semla_ros.streetworld.scene import Scene

Size = tuple[int, int]  # height and width
FolderLayout = Literal["plain", "cityscapes", "coco"]
FILES = {  # image and ground truth; {0} is the domain, {1} the index of the sample
    "plain": ("images/{1:06d}.png", "labels/{1:06d}.png"),
    "cityscapes": (
        "leftImg8bit/val/{0}/{0}_{1:06d}_leftImg8bit.png",
        "gtFine/val/{0}/{0}_{1:06d}_gtFine_labelTrainIds.png",
    ),
    "coco": ("images/{1:06d}.png", "panoptic/{1:06d}.png"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: Class ids, (H, W) uint8: indices into `CLASSES`.
        instances: Instances of `THINGS`, (H, W) uint16, see `Layers.instance`.
        depth: Depth in metres, (H, W) float32; 1000 in the sky.
        caption: An English sentence that describes the image.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    depth: NDArray[np.float32]
    caption: str


def sample(domain: str, index: int, seed: int, size: Size = (240, 384)) -> Sample:
    """Renders a sample. The same seed, domain and index always give the same bytes.

    Args:
        domain: Name of the domain, one of `DOMAINS`.
        index: Number of the sample within the domain and seed, from 0.
        seed: Seed of the streets. Use other seeds for evaluation than for training.
        size: (height, width) in pixels.

    Raises:
        ConfigError: There is no such domain.
    """
    chosen = domain_named(domain)
    rng = Random(f"sample/{seed}/{domain}/{index}")
    street_seed = rng.randrange(2**62)
    layout = street_layout(chosen.place, street_seed)
    pose = Pose(
        s=rng.uniform(0, 1000), u=layout.lane + rng.uniform(-0.5, 0.5), h=rng.uniform(1.3, 1.55),
        yaw=rng.gauss(0, 0.045), pitch=rng.gauss(-0.01, 0.02),
    )  # fmt: skip
    layers = render(Scene(layout, street_seed, pose, rng.uniform(0, 60)), Camera.of_size(size, rng.uniform(58, 72)))
    rgb = capture(layers, chosen.sample(rng), np.random.default_rng(street_seed), street_seed % 2**32)
    return Sample(rgb, layers.label, layers.instance, layers.depth, caption(layout, layers.visible, chosen, rng))


def write_dataset(
    out: Path, domain: str, count: int, seed: int, size: Size = (240, 384), layout: FolderLayout = "plain"
) -> None:
    """Writes images, ground truth and captions.txt, and continues where an earlier run was interrupted.

    A sample is complete when its line stands in captions.txt. The layouts are:

    - plain: images/<index>.png and labels/<index>.png with class ids in the order of `CLASSES`.
    - cityscapes: leftImg8bit and gtFine, split val, with the train ids of Cityscapes.
    - coco: images/<index>.png, panoptic/<index>.png and panoptic.json, with classes and instances, in the panoptic
      format of COCO. panoptic.json is written after the last image.

    Args:
        out: Folder of the data set; created if missing.
        domain: Name of the domain, one of `DOMAINS`.
        count: Number of samples. A folder that already holds as many or more is left as it is.
        seed: Seed of the samples, see `sample`.
        size: (height, width) in pixels.
        layout: Names of the files and ids of the classes.

    Raises:
        ConfigError: There is no such domain, or the folder holds samples of another domain, seed, size or
            layout.
        ImageError: A file cannot be written, for example because the disk is full.
    """
    domain_named(domain)
    captions = out / "captions.txt"
    for file in _files(out, layout, domain, 0):
        file.parent.mkdir(parents=True, exist_ok=True)
    complete, first_truth = _complete_lines(captions), _files(out, layout, domain, 0)[1]
    if (complete or first_truth.is_file()) and not _holds(first_truth, _truth(sample(domain, 0, seed, size), layout)):
        raise ConfigError("dataset of another domain, seed, size or layout", where=out, hint="Write to another folder.")
    with writing(captions):
        captions.touch()
        os.truncate(captions, len("".join(complete).encode()))  # removes a line that was cut off; needs no space
    for index in ProgressBar(range(len(complete), count), desc=domain, initial=len(complete), total=count):
        rendered = sample(domain, index, seed, size)
        image_file, truth_file = _files(out, layout, domain, index)
        write_image(image_file, rendered.rgb)
        write_image(truth_file, _truth(rendered, layout))
        with writing(captions), captions.open("a") as lines:
            lines.write(f"{rendered.caption}\n")
    if layout == "coco":
        write_annotations(out, [_files(out, layout, domain, index) for index in range(max(len(complete), count))])


def _complete_lines(captions: Path) -> list[str]:
    """Lines of captions.txt with their line ends; without the last one if it was cut off while it was written."""
    lines = captions.read_text().splitlines(keepends=True) if captions.exists() else []
    return [line for line in lines if line.endswith("\n")]


def _files(out: Path, layout: FolderLayout, domain: str, index: int) -> tuple[Path, Path]:
    """Paths of an image and of its ground truth."""
    image, truth = (out / name.format(domain, index) for name in FILES[layout])
    return image, truth


def _truth(item: Sample, layout: FolderLayout) -> NDArray[np.uint8]:
    """The ground truth of a sample as the layout stores it: ids (H, W), or the colours of segments (H, W, 3)."""
    if layout == "coco":
        return to_rgb(segment_ids(item.labels, item.instances))
    train_ids = np.array([list(CITYSCAPES_COLORS).index(name) for name in CLASSES], np.uint8)
    return item.labels if layout == "plain" else train_ids[item.labels]


def _holds(file: Path, truth: NDArray[np.uint8]) -> bool:
    """Whether an image file holds exactly this ground truth."""
    try:
        return np.array_equal(read_rgb(file) if truth.ndim == 3 else read_unchanged(file), truth)
    except ImageError:
        return False
