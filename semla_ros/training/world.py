"""`semla train world`: renders the data and trains everything in models/streetworld; it can be resumed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
from accelerate import Accelerator
from open_clip.model import CLIP

from semla_ros.adaptation.statistics import Statistics
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.library.captions import CAPTIONS
from semla_ros.library.image_statistics import statistics_of
from semla_ros.library.manifest import write_manifest
from semla_ros.modeling.catseg.architecture import STREETWORLD, CatSegArch
from semla_ros.modeling.catseg.loss import SegmentationLoss
from semla_ros.modeling.navigators.clip import ClipNavigator
from semla_ros.progress import ProgressBar
from semla_ros.streetworld import CLASSES
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.training.captions import SCHEDULE, Pairs, caption_table, embedded
from semla_ros.training.card import write_card
from semla_ros.training.clip import navigator_arch, navigator_of, train_clip
from semla_ros.training.device import accelerator_on
from semla_ros.training.fitting import fit_adapter
from semla_ros.training.images import Images
from semla_ros.training.presets import PRESETS
from semla_ros.training.rendered import RenderedFolders, render_datasets
from semla_ros.training.schedule import Schedule
from semla_ros.training.segmenter import NAMES, backbone, train_segmenter
from semla_ros.training.settings import claim

BASE_DOMAIN = "clear_day"
TEMPERATURE = 0.02  # best of 0.01, 0.02, 0.05 on a validation seed, with and without the own adapter
ABOUT = "A small stand-in model, trained from scratch on rendered StreetWorld images and never on real ones."


@dataclass(frozen=True)
class Recipe:
    """Amounts of data and schedules of the training. The defaults are those of `models/streetworld`.

    Attributes:
        base_images: Number of clear-day images, for CLIP and the segmenter.
        domain_images: Number of images of each other domain, for CLIP and the adapter of the domain.
        caption_images: Number of images per domain, for the captions of the library.
        seed: Seed of the streets and of the training.
        domains: Domains that get an adapter; `BASE_DOMAIN` is one of them.
        arch: Sizes of the segmenter; its image encoder is also the navigator's.
        clip: Schedule of CLIP.
        segmenter: Schedule of the segmenter.
        adapter: Schedule of each adapter.
        captions: Schedule of the text encoder that the captions are encoded with.
        balance: Exponent of the class weights, see `semla_ros.modeling.catseg.loss.SegmentationLoss`.
        patch_weight: Weight of the cross-entropy of the patches, see there.
    """

    base_images: int = 4000
    domain_images: int = 400
    caption_images: int = 150
    seed: int = 1
    domains: tuple[str, ...] = tuple(DOMAINS)
    arch: CatSegArch = STREETWORLD
    clip: Schedule = Schedule(steps=300, batch=128, lr=1e-3, warmup=50, weight_decay=0.1)
    segmenter: Schedule = Schedule(steps=6000, batch=8, lr=8e-4, warmup=300)
    adapter: Schedule = PRESETS["small"].schedule
    captions: Schedule = SCHEDULE
    balance: float = 0.5
    patch_weight: float = 0.2

    @property
    def counts(self) -> dict[str, int]:
        """Domain to number of training images."""
        return {name: self.base_images if name == BASE_DOMAIN else self.domain_images for name in self.domains}

    @property
    def loss(self) -> str:
        """Loss of the segmenter and the adapters, in words; see `semla_ros.modeling.catseg.loss.SegmentationLoss`."""
        return (
            "binary cross-entropy per class and pixel, in which the pixels of a class of share f among T classes count"
            f" (T f)^-{self.balance:g} times, plus {self.patch_weight:g} times the cross-entropy of the patches"
        )


def train_world(work: Path, out: Path, recipe: Recipe) -> None:
    """Renders the data, trains all networks and writes the bundle. Uses GPUs if there are any.

    Args:
        work: Folder of data sets, checkpoints and logs. Finished stages in it are not run again.
        out: Folder of the bundle.
        recipe: Amounts of data and schedules.

    Raises:
        TrainingError: ``work`` holds a training by another recipe; or a data set, checkpoint or log is damaged, belongs
            to another training, or cannot be written.
        ImageError: An image cannot be written, or a rendered one is damaged.
    """
    accelerator = accelerator_on()
    # 1. Images, label maps and captions of all domains.
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            claim(work, asdict(recipe))
        render_datasets(work / "train", recipe.counts, recipe.seed, processes=os.cpu_count() or 1)
    # 2. CLIP: the navigator, and the backbone of the segmenter.
    clip = _clip(work, recipe, accelerator)
    navigator = navigator_of(clip, recipe.arch)
    # 3. The segmenter, on the base domain.
    network = backbone(recipe.arch, clip.state_dict())
    loss = SegmentationLoss(network, NAMES, recipe.balance, recipe.patch_weight)
    base = _images(work, BASE_DOMAIN, recipe.base_images, loss)
    train_segmenter(loss, base, recipe.segmenter, work, recipe.seed, accelerator)
    bundle = Bundle(out, ABOUT, recipe.arch, navigator.arch, CLASSES, defaults=Defaults(temperature=TEMPERATURE))
    if accelerator.is_main_process:
        bundle.save(loss.network, navigator.network)
    accelerator.wait_for_everyone()
    # 4. Captions, in the navigator's space.
    table = caption_table(bundle, _pairs(bundle, work, recipe), recipe.captions, work, recipe.seed, accelerator)
    if accelerator.is_main_process:
        table.save(out / CAPTIONS)
    # 5. One adapter per domain, with statistics.
    for name in recipe.domains:
        images = _images(work, name, recipe.domain_images, loss)
        layers, preset = loss.network.adapted_layers(), replace(PRESETS["small"], schedule=recipe.adapter)
        folder = work / "adapters"
        adapter, _ = fit_adapter(name, "lora", loss, layers, images, preset, folder, recipe.seed, accelerator)
        if accelerator.is_main_process:
            save_adapter(adapter, _statistics(navigator, work, name, recipe.domain_images), out / ADAPTERS)
    if accelerator.is_main_process:
        _write_card(out / "README.md", work, recipe)
        write_manifest(out)


def _clip(work: Path, recipe: Recipe, accelerator: Accelerator) -> CLIP:
    """Trains CLIP on the images of all domains, at the size that the navigator takes."""
    pairs = RenderedFolders(work / "train", recipe.counts)
    images = Images.read(pairs, navigator_arch(recipe.arch).image_size, label_size=1, interpolation=cv2.INTER_AREA)
    return train_clip(recipe.arch, images, pairs.captions, recipe.clip, work, recipe.seed, accelerator)


def _images(work: Path, domain: str, count: int, loss: SegmentationLoss) -> Images:
    return Images.read(RenderedFolders(work / "train", {domain: count}), loss.image_size, loss.label_size)


def _pairs(bundle: Bundle, work: Path, recipe: Recipe) -> Pairs:
    """Image embeddings and captions, by the navigator as the bundle stores it."""
    folders = RenderedFolders(work / "train", dict.fromkeys(recipe.domains, recipe.caption_images))
    images = (each.rgb for each in ProgressBar(folders, desc="captions", total=len(folders)))
    return embedded(bundle.load_navigator(), zip(images, folders.captions, strict=True))


def _statistics(navigator: ClipNavigator, work: Path, domain: str, count: int) -> Statistics:
    """Statistics of the first ``count`` images of a domain."""
    statistics = statistics_of((each.rgb for each in RenderedFolders(work / "train", {domain: count})), navigator)
    assert statistics is not None  # a rendered data set has images
    return statistics


def _write_card(path: Path, work: Path, recipe: Recipe) -> None:
    stages = {"clip": recipe.clip, "segmenter": recipe.segmenter, "captions": recipe.captions}
    stages |= {f"adapters/{name}": recipe.adapter for name in recipe.domains}
    images = f"{recipe.base_images} of {BASE_DOMAIN}, {recipe.domain_images} of each other domain"
    logs = {name: (work / f"{name}.csv", schedule) for name, schedule in stages.items()}
    write_card(path, ABOUT, recipe.seed, images, recipe.loss, logs)
