"""`semla train world`: renders the data and trains everything in models/streetworld; it can be resumed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
from accelerate import Accelerator
from open_clip.model import CLIP

from semla_ros.adaptation.statistics import Statistics
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.library.image_statistics import statistics_of
from semla_ros.modeling.catseg.architecture import STREETWORLD
from semla_ros.modeling.catseg.loss import SegmentationLoss
from semla_ros.modeling.navigators.clip import ClipNavigator
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.training.card import write_card
from semla_ros.training.clip import navigator_arch, navigator_of, train_clip
from semla_ros.training.device import accelerator_on
from semla_ros.training.fitting import fit_adapter
from semla_ros.training.images import Images
from semla_ros.training.presets import PRESETS
from semla_ros.training.rendered import RenderedFolders, render_datasets
from semla_ros.training.schedule import Schedule
from semla_ros.training.segmenter import NAMES, backbone, train_segmenter

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
        clip: Schedule of CLIP.
        segmenter: Schedule of the segmenter.
        adapter: Schedule of each adapter.
    """

    base_images: int = 4000
    domain_images: int = 400
    seed: int = 1
    clip: Schedule = Schedule(steps=300, batch=128, lr=1e-3, warmup=50, weight_decay=0.1)
    segmenter: Schedule = Schedule(steps=900, batch=16, lr=8e-4, warmup=100)
    adapter: Schedule = PRESETS["small"].schedule


def train_world(work: Path, out: Path, recipe: Recipe) -> None:
    """Renders the data, trains all networks and writes the bundle. Uses GPUs if there are any.

    Args:
        work: Folder of data sets, checkpoints and logs. Finished stages in it are not run again.
        out: Folder of the bundle.
        recipe: Amounts of data and schedules.

    Raises:
        TrainingError: A data set, checkpoint or log is damaged, belongs to another training, or cannot be written.
        ImageError: An image cannot be written, or a rendered one is damaged.
    """
    accelerator = accelerator_on()
    counts = {name: recipe.base_images if name == BASE_DOMAIN else recipe.domain_images for name in DOMAINS}
    with accelerator.main_process_first():
        render_datasets(work / "train", counts, recipe.seed, processes=os.cpu_count() or 1)
    clip = _clip(work, recipe, accelerator)
    loss = SegmentationLoss(backbone(STREETWORLD, clip.state_dict()), NAMES)
    base = _images(work, BASE_DOMAIN, recipe.base_images, loss)
    train_segmenter(loss, base, recipe.segmenter, work, recipe.seed, accelerator)
    navigator = navigator_of(clip, STREETWORLD)
    bundle = Bundle(out, ABOUT, STREETWORLD, navigator.arch, CLASSES, defaults=Defaults(temperature=TEMPERATURE))
    if accelerator.is_main_process:
        bundle.save(loss.network, navigator.network)
    for name in DOMAINS:
        images = _images(work, name, recipe.domain_images, loss)
        layers, preset = loss.network.adapted_layers(), replace(PRESETS["small"], schedule=recipe.adapter)
        folder = work / "adapters"
        adapter, _ = fit_adapter(name, "lora", loss, layers, images, preset, folder, recipe.seed, accelerator)
        if accelerator.is_main_process:
            save_adapter(adapter, _statistics(navigator, work / "train" / name, recipe.domain_images), out / ADAPTERS)
    if accelerator.is_main_process:
        _write_card(out / "README.md", work, recipe)


def _clip(work: Path, recipe: Recipe, accelerator: Accelerator) -> CLIP:
    """Trains CLIP on the images of all domains, at the size that the navigator takes."""
    pairs = RenderedFolders([work / "train" / name for name in DOMAINS])
    images = Images.read(pairs, navigator_arch(STREETWORLD).image_size, label_size=1, interpolation=cv2.INTER_AREA)
    return train_clip(STREETWORLD, images, pairs.captions, recipe.clip, work, recipe.seed, accelerator)


def _images(work: Path, domain: str, limit: int, loss: SegmentationLoss) -> Images:
    return Images.read(RenderedFolders([work / "train" / domain], limit), loss.image_size, loss.label_size)


def _statistics(navigator: ClipNavigator, folder: Path, count: int) -> Statistics:
    """Statistics of the first ``count`` images of a data set."""
    statistics = statistics_of((each.rgb for each in RenderedFolders([folder], count)), navigator)
    assert statistics is not None  # a rendered data set has images
    return statistics


def _write_card(path: Path, work: Path, recipe: Recipe) -> None:
    stages = {"clip": recipe.clip, "segmenter": recipe.segmenter} | {
        f"adapters/{name}": recipe.adapter for name in DOMAINS
    }
    images = f"{recipe.base_images} of {BASE_DOMAIN}, {recipe.domain_images} of each other domain"
    logs = {name: (work / f"{name}.csv", schedule) for name, schedule in stages.items()}
    write_card(path, ABOUT, recipe.seed, images, logs)
