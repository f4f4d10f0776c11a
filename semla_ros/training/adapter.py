"""`semla train adapter`: an adapter from a folder of images and a folder of label maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from semla_ros.adaptation.statistics import Statistics
from semla_ros.errors import TrainingError
from semla_ros.evaluation.dataset import Dataset
from semla_ros.evaluation.paired_folders import open_dataset
from semla_ros.images.classes import UNLABELLED
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.library.image_statistics import statistics_of
from semla_ros.modeling.base import Navigator, Segmenter, TrainingLoss, segmenter_kind
from semla_ros.progress import ProgressBar
from semla_ros.training.adapter_card import write_adapter_card
from semla_ros.training.adapter_place import AdapterPlace
from semla_ros.training.best import Best, Validation
from semla_ros.training.device import accelerator_on
from semla_ros.training.fingerprint import Fingerprint
from semla_ros.training.fitting import fit_adapter
from semla_ros.training.held_out import HeldOut
from semla_ros.training.images import Images
from semla_ros.training.methods import METHODS
from semla_ros.training.presets import PRESETS, Preset, default_preset
from semla_ros.training.rank import check_reducible, of_rank

NOT_COMPARED = dict.fromkeys(("overwrite", "device", "export_rank", "changes", "about"))  # on resume
FEWEST_HELD_OUT = 3  # images: the mIoU of fewer says little


@dataclass(frozen=True)
class AdapterTask:
    """What is trained, and how.

    Attributes:
        images: Folder of the images, see `semla_ros.evaluation.paired_folders.open_dataset`.
        labels: Folder of the label maps.
        out: Folder of the adapter: ``<library>/<name>``.
        bundle: Path or name of the model bundle.
        classes: Names of the classes, in the order of their ids; none for those of the bundle.
        method: Name of the method, see `semla_ros.training.methods.METHODS`.
        preset: Name of the settings, see `semla_ros.training.presets.PRESETS`; empty for the one that fits the bundle.
        changes: Settings that differ from the preset, see `semla_ros.training.presets.Preset.changed`.
        export_rank: Rank that the adapter is reduced to at the end; 0 keeps it.
        validation_share: Share of the images that is held out to measure the mIoU, 0 to 0.5.
        seed: Seed of initial values, batches and prompts.
        device: "auto", "cpu" or "cuda".
        overwrite: Whether an adapter of the same name may be replaced.
    """

    images: Path
    labels: Path
    out: Path
    bundle: str
    classes: tuple[str, ...] = ()
    method: str = "lora"
    preset: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    export_rank: int = 0
    validation_share: float = 0.1
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class Outcome:
    """Result of a training.

    Attributes:
        task: What was trained.
        preset: Settings in force.
        images: Number of training images.
        held_out: Number of images that the mIoU was measured on; 0 without a validation.
        skipped: Images that were left out, with the reason.
        best: mIoU before and after, percent.
        rank_error: Relative error of the reduced rank, 0 to 1; NaN if it was not reduced.
        replaced: Where the adapter is now that was replaced; None if there was none.
    """

    task: AdapterTask
    preset: Preset
    images: int
    held_out: int
    skipped: dict[Path, str]
    best: Best
    rank_error: float = math.nan
    replaced: Path | None = None


def train_adapter(task: AdapterTask) -> Outcome:
    """Trains an adapter and writes its folder: PEFT's files, statistics, and a card with the learning curve.

    A training that was interrupted continues when it is called again with the same task, with the same result.

    Raises:
        BundleError: There is no such bundle, or it is damaged.
        RecordingError: The images or label maps cannot be used, see `open_dataset`.
        TrainingError: The adapter exists, cannot be written, or cannot be trained with these images or settings.
    """
    # 1. The place, before anything takes time.
    place, accelerator = AdapterPlace(task.out, task.overwrite), accelerator_on(task.device)
    # 2. The bundle: segmenter and its loss for the classes of the label maps.
    bundle = Bundle.open(find_bundle(task.bundle))
    classes = task.classes or bundle.classes
    network = bundle.load_network()
    preset = PRESETS[task.preset or default_preset(network, task.method)].changed(**task.changes)
    if task.export_rank:
        check_reducible(METHODS[task.method].rank(preset), task.export_rank)
    segmenter, loss = _segmenter(bundle, network, classes)
    # 3. The data: read once at the network's size; the last share of it is held out.
    dataset = open_dataset(task.images, task.labels, classes)
    with accelerator.main_process_first():
        if accelerator.is_main_process:
            exact = {"method": task.method, "found": len(dataset), "bundle": bundle.path}
            place.claim({**asdict(task), **asdict(preset), **NOT_COMPARED, **exact})
    images = Images.read(dataset, loss.image_size, loss.label_size)
    fingerprint = Fingerprint.of(images, network.state_dict())
    train, held_out = _split(images, task.validation_share, classes)
    # 4. Training by the method. With a validation, the values with the highest mIoU are the result.
    network.to(accelerator.device)
    score = HeldOut(segmenter, held_out, accelerator).miou if len(held_out) else None
    validation = Validation(score, preset.validate_every, preset.patience) if score else None
    adapter, best = fit_adapter(
        place.name, task.method, loss, segmenter.adapted_layers(), train, preset, place.work, task.seed, accelerator,
        validation, fingerprint,
    )  # fmt: skip
    adapter, error = of_rank(adapter, task.export_rank) if task.export_rank else (adapter, math.nan)
    outcome = Outcome(task, preset, len(train), len(held_out), _skipped(dataset), best, error)
    # 5. Statistics of the training images, and the folder, which appears when it is complete.
    if accelerator.is_main_process:
        statistics = _statistics(bundle.load_navigator(), dataset, len(train), accelerator)
        with place.filled() as folder:
            save_adapter(adapter, statistics, folder.parent, method=task.method)
            write_adapter_card(folder, outcome, classes, bundle, place.work / f"{place.name}.csv")
    accelerator.wait_for_everyone()
    return replace(outcome, replaced=place.replaced)


def _segmenter(bundle: Bundle, network: Any, classes: Sequence[str]) -> tuple[Segmenter, TrainingLoss]:
    kind = segmenter_kind(bundle.segmenter.kind)
    if kind.loss is None:
        raise TrainingError("this kind of segmenter cannot be trained", where=bundle.path, got=bundle.segmenter.kind)
    return kind.segmenter(network, classes, "official", 1024), kind.loss(network, classes)


def _split(images: Images, share: float, classes: Sequence[str]) -> tuple[Images, Images]:
    """Splits the images for training and validation; the latter is empty where there are too few."""
    if not len(images):
        raise TrainingError("no image to train with", hint="The warnings name the files and say what is wrong.")
    train, held_out = images.split(share)
    if len(held_out) < FEWEST_HELD_OUT or (held_out.labels == UNLABELLED).all():
        train, held_out = images, Images(images.images[:0], images.labels[:0])
    found = sorted(set(np.unique(train.labels).tolist()) - {UNLABELLED})
    if len(found) < 2:
        got = f"{classes[found[0]]} alone" if found else "no labelled pixel"
        raise TrainingError(
            "training images with fewer than two classes", got=got, expected="two classes or more",
            hint="An adapter that sees one class learns to call everything by its name. Label the rest of the images.",
        )  # fmt: skip
    return train, held_out


def _skipped(dataset: Dataset) -> dict[Path, str]:
    return dict(getattr(dataset, "skipped", {}))


def _statistics(navigator: Navigator, dataset: Dataset, count: int, accelerator: Accelerator) -> Statistics:
    """Statistics of the first ``count`` images, those that were trained with."""
    navigator.network.to(accelerator.device)
    items = zip(ProgressBar(range(count), desc="embedding"), dataset, strict=False)
    statistics = statistics_of((item.rgb for _, item in items), navigator)
    assert statistics is not None  # a training has images
    return statistics
