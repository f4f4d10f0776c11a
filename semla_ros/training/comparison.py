"""`semla train compare`: methods compared on StreetWorld, in the domain of an adapter and in those it did not see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from accelerate import Accelerator

from semla_ros.errors import TrainingError
from semla_ros.evaluation.metrics import ConfusionMatrix
from semla_ros.evaluation.rendered import HELD_OUT_SEED, RenderedDataset
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.modeling.base import Segmenter, TrainingLoss, segmenter_kind
from semla_ros.modeling.lora import Adapter, LoraFuser
from semla_ros.progress import ProgressBar
from semla_ros.streetworld.domains import DOMAINS, domain_named
from semla_ros.training.device import accelerator_on
from semla_ros.training.fitting import fit_adapter
from semla_ros.training.images import Images
from semla_ros.training.presets import PRESETS
from semla_ros.training.rendered import RenderedFolders, render_datasets
from semla_ros.training.settings import claim
from semla_ros.whole_file import whole_file

TRAINING_SEED = 1  # of the streets, as in `semla train world`
BASE = "no adapter"


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        domains: Domains to train an adapter for.
        rates: Method to base learning rate.
        seeds: Number of trainings per domain and method.
        steps: Steps per training.
        batch: Images per step.
        images: Training images per domain.
        test_images: Test images per domain.
        test_seed: Seed of the streets of the test images.
        bundle: Path or name of the bundle.
    """

    domains: tuple[str, ...]
    rates: Mapping[str, float]
    seeds: int = 3
    steps: int = 60
    batch: int = 16
    images: int = 400
    test_images: int = 40
    test_seed: int = HELD_OUT_SEED
    bundle: str = "streetworld"


Scores = dict[str, float]  # domain to mIoU, percent


def compare(comparison: Comparison, work: Path) -> str:
    """Trains and tests every combination of domain, method and seed; those that are finished are not run again.

    Args:
        comparison: What is compared.
        work: Folder of data sets, checkpoints and results.

    Returns:
        A Markdown table: mIoU in the own domain and mean mIoU over the unseen domains, mean and standard deviation.

    Raises:
        ConfigError: There is no such domain.
        TrainingError: The folder holds a comparison with other settings, or cannot be written.
    """
    for domain in comparison.domains:
        domain_named(domain)
    claim(work, asdict(comparison))  # after the check, so that a wrong name leaves no folder
    render_datasets(
        work / "train", dict.fromkeys(comparison.domains, comparison.images), TRAINING_SEED, os.cpu_count() or 1
    )
    bench = _Bench(comparison, work)
    base = bench.result("base", lambda: Adapter(BASE, {}, 1.0))
    results: dict[tuple[str, str], list[Scores]] = {}
    for domain, method, seed in ProgressBar(list(_runs(comparison)), desc="compare", unit="training"):
        name = f"{domain}-{method}-{seed}"
        scores = bench.result(name, lambda d=domain, m=method, s=seed, n=name: bench.train(n, d, m, s))
        results.setdefault((domain, method), []).append(scores)
    return _table(comparison, base, results)


class _Bench:
    """The network of the bundle, in which adapters are trained and tested."""

    def __init__(self, comparison: Comparison, work: Path) -> None:
        self.comparison, self.work = comparison, work
        bundle = Bundle.open(find_bundle(comparison.bundle))
        network, kind = bundle.load_network(), segmenter_kind(bundle.segmenter.kind)
        if kind.loss is None:
            raise TrainingError("this kind of segmenter cannot be trained", where=bundle.path, got=kind)
        self.segmenter: Segmenter = kind.segmenter(network, bundle.classes, "official", 1024)
        self.loss: TrainingLoss = kind.loss(network, bundle.classes)
        self.accelerator: Accelerator = accelerator_on()
        network.to(self.accelerator.device)
        self.tests = [RenderedDataset(name, comparison.test_images, comparison.test_seed) for name in DOMAINS]
        self.fuser = LoraFuser(self.segmenter.adapted_layers(), network)

    def result(self, name: str, train: Any) -> Scores:
        """The scores of a run from its file, or of the adapter that ``train`` returns."""
        file = self.work / f"{name}.json"
        if not file.exists():
            with whole_file(file) as partial:
                partial.write_text(json.dumps(self._test(train()), indent=2) + "\n")
        scores: Scores = json.loads(file.read_text())
        return scores

    def train(self, name: str, domain: str, method: str, seed: int) -> Adapter:
        """Trains an adapter for a domain."""
        wanted = self.comparison
        data = RenderedFolders(self.work / "train", {domain: wanted.images})
        images = Images.read(data, self.loss.image_size, self.loss.label_size)
        preset = PRESETS["small"].changed(steps=wanted.steps, batch=wanted.batch, lr=wanted.rates[method])
        layers, folder = self.segmenter.adapted_layers(), self.work / "checkpoints"
        adapter, _ = fit_adapter(name, method, self.loss, layers, images, preset, folder, seed, self.accelerator)
        return adapter

    def _test(self, adapter: Adapter) -> Scores:
        """mIoU of an adapter in every domain, percent."""
        changes = bool(adapter.factors or adapter.difference)
        self.fuser.apply([adapter] if changes else [], (1.0,) if changes else ())
        self.segmenter.refresh_text()
        scores = {}
        for dataset in self.tests:
            confusion = ConfusionMatrix(len(self.segmenter.classes))
            for item in dataset:
                predicted, _ = self.segmenter.segment(item.rgb)
                confusion.add(item.labels, predicted)
            scores[dataset.name] = confusion.miou
        self.fuser.apply([], ())
        return scores


def _runs(comparison: Comparison) -> Iterator[tuple[str, str, int]]:
    for seed in range(comparison.seeds):
        for domain in comparison.domains:
            for method in comparison.rates:
                yield domain, method, seed


def _table(comparison: Comparison, base: Scores, results: Mapping[tuple[str, str], Sequence[Scores]]) -> str:
    rows = [["trained on", "method", "own domain", "mean of the unseen domains"], ["---", "---", "---:", "---:"]]
    for domain in comparison.domains:
        rows.append([domain, BASE, f"{base[domain]:.1f}", f"{_unseen(base, domain):.1f}"])
        for method in comparison.rates:
            runs = results[domain, method]
            own, unseen = [run[domain] for run in runs], [_unseen(run, domain) for run in runs]
            rows.append([domain, method, _spread(own), _spread(unseen)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _unseen(scores: Scores, domain: str) -> float:
    return mean(value for name, value in scores.items() if name != domain)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
