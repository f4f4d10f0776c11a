"""Batch mode beside a fusion for each image, on StreetWorld: fusions, speed and mIoU."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from semla_ros.batch.outputs import MASKS
from semla_ros.batch.run import BatchRun, BatchSummary
from semla_ros.batch.sources import find_sources
from semla_ros.batch.workers import RayWorkers
from semla_ros.config import Config
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.evaluation.rendered import RenderedDataset
from semla_ros.images.files import read_unchanged, write_image
from semla_ros.pipeline.build import build_pipeline
from semla_ros.progress import ProgressBar
from semla_ros.streetworld.domains import DOMAINS


@dataclass(frozen=True)
class BatchFigures:
    """Results of the measurement.

    Attributes:
        images: Number of images, the same number of each domain, in a folder for each domain.
        clusters: Number of clusters.
        fusions: Number of workers to number of fusions; without clusters every image needs one.
        images_per_s: Number of workers to images that are segmented per second, after the start of the workers.
        embedded_per_s: Number of workers to images that are embedded per second, after the start of the workers.
        total_s: Number of workers to seconds of the whole run, with the start of Ray and of the workers.
        per_image_per_s: Images per second in one process that embeds, fuses and segments each image in turn.
        miou_per_cluster: mIoU with a mixture for each cluster, percent, mean over the domains.
        miou_per_image: mIoU with a mixture for each image, percent, mean over the domains.
    """

    images: int
    clusters: int
    fusions: dict[str, int]
    images_per_s: dict[str, float]
    embedded_per_s: dict[str, float]
    total_s: dict[str, float]
    per_image_per_s: float
    miou_per_cluster: float
    miou_per_image: float


def batch_figures(config: Config, images: int, workers: Sequence[int] = (1, 2)) -> BatchFigures:
    """Measures batch mode on rendered streets of all domains that no model was trained on.

    Args:
        config: Settings of the pipeline.
        images: Images of each domain.
        workers: Numbers of workers to measure.
    """
    datasets = [RenderedDataset(name, images) for name in DOMAINS]
    with TemporaryDirectory(prefix="semla_batch_") as place:
        folder = Path(place)
        _write(datasets, folder / "images")
        runs = {count: _run(config, folder, count) for count in workers}
        per_cluster = np.mean([_miou_of_masks(each, folder / f"{workers[0]}") for each in datasets])
    per_second, per_image = _per_image(config, datasets)
    total = images * len(datasets)
    return BatchFigures(
        total,
        runs[workers[0]].clusters,
        {f"{count}_workers": run.fusions for count, run in runs.items()},
        {f"{count}_workers": total / run.segment_s for count, run in runs.items()},
        {f"{count}_workers": total / run.embed_s for count, run in runs.items()},
        {f"{count}_workers": run.total_s for count, run in runs.items()},
        per_second,
        float(per_cluster),
        per_image,
    )


def _write(datasets: Sequence[RenderedDataset], folder: Path) -> None:
    for dataset in ProgressBar(datasets, desc="render", unit="domain"):
        (folder / dataset.name).mkdir(parents=True)
        for number, image in enumerate(dataset):
            write_image(folder / dataset.name / f"{number:06d}.png", image.rgb)


def _run(config: Config, folder: Path, count: int) -> BatchSummary:
    out = folder / f"{count}"
    with RayWorkers(count, None, config.model.threads, config.model.device) as workers:
        return BatchRun(find_sources([folder / "images"], out), out, config, workers).run()


def _miou_of_masks(dataset: RenderedDataset, out: Path) -> float:
    confusion = ConfusionMatrix(255)
    for number, image in enumerate(dataset):
        confusion.add(image.labels, read_unchanged(out / MASKS / dataset.name / f"{number:06d}.png"))
    return confusion.miou


def _per_image(config: Config, datasets: Sequence[RenderedDataset]) -> tuple[float, float]:
    """Images per second and mIoU with a fusion for each image."""
    pipeline = build_pipeline(config)
    scores, seconds, count = [], 0.0, 0
    for dataset in ProgressBar(datasets, desc="for each image", unit="domain"):
        confusion = ConfusionMatrix(len(pipeline.classes))
        for image in dataset:
            begin = time.perf_counter()
            pipeline.fuse(pipeline.retrieve(pipeline.navigator.embed(image.rgb)))
            labels, _ = pipeline.segment(image.rgb)
            seconds += time.perf_counter() - begin
            count += 1
            confusion.add(image.labels, labels)
        scores.append(confusion.miou)
    return count / seconds, float(np.mean(scores))
