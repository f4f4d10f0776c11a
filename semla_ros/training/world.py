"""`semla train world`: renders the data and trains everything in models/streetworld; it can be resumed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from semla_ros.adaptation.statistics import Statistics
from semla_ros.images.files import read_rgb
from semla_ros.images.texture import texture
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.modeling.catseg.architecture import STREETWORLD
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.lora import Adapter
from semla_ros.modeling.navigators.clip import ClipNavigator
from semla_ros.pipeline.build import choose_device
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.training.card import write_card
from semla_ros.training.clip import navigator_arch, navigator_of, train_clip
from semla_ros.training.data import Images, load_images, render_datasets
from semla_ros.training.loop import Schedule
from semla_ros.training.segmenter import backbone, train_adapter, train_segmenter

BASE_DOMAIN = "clear_day"
TEMPERATURE = 0.02  # best of 0.01, 0.02, 0.05 on a validation seed, with and without the own adapter
ABOUT = "A small stand-in model, trained from scratch on rendered StreetWorld images and never on real ones."


@dataclass(frozen=True)
class Recipe:
    """Amounts of data and schedules of the training.

    Attributes:
        base_images: Number of clear-day images, for CLIP and the segmenter.
        domain_images: Number of images of each other domain, for CLIP and the adapter of the domain.
        seed: Seed of the streets and of the training.
        label_side: Side length of the label maps in training, pixels.
        clip: Schedule of CLIP.
        segmenter: Schedule of the segmenter.
        adapter: Schedule of each adapter.
    """

    base_images: int = 4000
    domain_images: int = 400
    seed: int = 1
    label_side: int = 128
    clip: Schedule = Schedule(steps=300, batch=128, lr=1e-3, warmup=50, weight_decay=0.1)
    segmenter: Schedule = Schedule(steps=900, batch=16, lr=8e-4, warmup=100)
    adapter: Schedule = Schedule(steps=60, batch=16, lr=3e-3, warmup=10, weight_decay=0.0)


def train_world(work: Path, out: Path, recipe: Recipe) -> None:
    """Renders the data, trains all networks and writes the bundle. Uses a GPU if there is one.

    Args:
        work: Folder of data sets, checkpoints and logs. Finished stages in it are not run again.
        out: Folder of the bundle.
        recipe: Amounts of data and schedules.

    Raises:
        TrainingError: A data set, checkpoint or log is damaged, belongs to another training, or cannot be written.
        ImageError: An image cannot be written, or a rendered one is damaged.
    """
    counts = {name: recipe.base_images if name == BASE_DOMAIN else recipe.domain_images for name in DOMAINS}
    render_datasets(work / "train", counts, recipe.seed, processes=os.cpu_count() or 1)
    device = choose_device("auto")
    clip = train_clip(STREETWORLD, _all_images(work), recipe.clip, work, recipe.seed, device)
    network = backbone(STREETWORLD, clip.state_dict()).to(device)
    base = load_images([work / "train" / BASE_DOMAIN], STREETWORLD.image_size, recipe.label_side)
    train_segmenter(network, CLASSES, base, recipe.segmenter, work, recipe.seed)
    navigator = navigator_of(clip, STREETWORLD)
    bundle = Bundle(out, ABOUT, STREETWORLD, navigator.arch, CLASSES, defaults=Defaults(temperature=TEMPERATURE))
    bundle.save(network, navigator.network)
    for name in DOMAINS:
        adapter = _adapter(name, network, work, recipe)
        save_adapter(adapter, _statistics(navigator, work / "train" / name, recipe.domain_images), out / ADAPTERS)
    stages = {"clip": recipe.clip, "segmenter": recipe.segmenter} | {
        f"adapters/{name}": recipe.adapter for name in DOMAINS
    }
    images = f"{recipe.base_images} of {BASE_DOMAIN}, {recipe.domain_images} of each other domain"
    logs = {name: (work / f"{name}.csv", schedule) for name, schedule in stages.items()}
    write_card(out / "README.md", ABOUT, recipe.seed, images, logs)


def _all_images(work: Path) -> Images:
    side = navigator_arch(STREETWORLD).image_size
    return load_images([work / "train" / name for name in DOMAINS], side, label_side=1, interpolation=cv2.INTER_AREA)


def _adapter(name: str, network: CatSeg, work: Path, recipe: Recipe) -> Adapter:
    images = load_images([work / "train" / name], STREETWORLD.image_size, recipe.label_side, limit=recipe.domain_images)
    return train_adapter(name, network, CLASSES, images, recipe.adapter, work / "adapters", recipe.seed)


def _statistics(navigator: ClipNavigator, folder: Path, count: int) -> Statistics:
    """Statistics of the first ``count`` images of a data set."""
    images = [read_rgb(path) for path in sorted((folder / "images").glob("*.png"))[:count]]
    return Statistics.of(np.array([navigator.embed(rgb) for rgb in images]), np.array([texture(rgb) for rgb in images]))
