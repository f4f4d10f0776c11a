"""How well a library serves domains it has no adapter for (SemLA, Table 1: leave-one-out)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.errors import AdapterError
from semla_ros.evaluation.metrics import ConfusionMatrix, harmonic_mean
from semla_ros.modeling.base import Mode
from semla_ros.pipeline.pipeline import SemlaPipeline

LOG = logging.getLogger(__name__)
METHODS = ("zero_shot", "uniform", "semla", "oracle")


class Shot(Protocol):
    """A image (H, W, 3) uint8 and its ground truth (H, W) uint8."""

    @property
    def rgb(self) -> NDArray[np.uint8]: ...  # noqa: D102

    @property
    def labels(self) -> NDArray[np.uint8]: ...  # noqa: D102


class Dataset(Protocol):
    """Labelled images of one domain, the same in every pass."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Shot]: ...


@dataclass(frozen=True)
class Score:
    """mIoU in percent.

    Attributes:
        per_domain: One value a domain; the oracle lacks domains that have no adapter.
        h_mean: Their harmonic mean.
        per_class: Domain to class to IoU in percent, of the classes that occur in the ground truth.
    """

    per_domain: dict[str, float]
    h_mean: float
    per_class: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Inference:
    """How a image is segmented.

    Attributes:
        mode: One pass, or the paper's sliding window.
        short_side: Shorter side the image is resized to first, pixels; 0 leaves it as it is.
        long_side: But the longer one at most this.
    """

    mode: Mode = "plain"
    short_side: int = 0
    long_side: int = 0

    def resized(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image in the size that the segmenter sees, bilinear with Pillow as in the official evaluation."""
        if not self.short_side:
            return rgb
        height, width = rgb.shape[:2]
        scale = min(self.short_side / min(height, width), self.long_side / max(height, width))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))


class LeaveOneOut:
    """Compares ways of mixing adapters, the target domain's own one removed (but for the oracle, which has only it).

    Args:
        pipeline: Its networks, library, k and temperature are used; its tracker is not: every image stands alone.
        inference: How images are segmented.
        methods: Some of `METHODS`.

    Raises:
        AdapterError: The library has fewer than two adapters.
    """

    def __init__(
        self, pipeline: SemlaPipeline, inference: Inference = Inference(), methods: Sequence[str] = METHODS
    ) -> None:
        self.pipeline, self.inference, self.methods = pipeline, inference, methods
        self.library = pipeline.library
        if len(self.library.names) < 2:
            raise AdapterError(
                "nothing to leave out", got=f"{len(self.library.names)} adapters", expected="two or more"
            )
        self._fused: Mixture | None = None

    def run(self, datasets: Sequence[Dataset]) -> dict[str, Score]:
        """Scores every method on every domain, one confusion matrix each.

        Args:
            datasets: One a domain, of the name of its adapter if it has one.
        """
        tallies: dict[str, dict[str, ConfusionMatrix]] = {method: {} for method in self.methods}
        with tqdm(total=len(self.methods) * sum(map(len, datasets)), desc="evaluate", unit="image") as bar:
            for dataset in datasets:
                has_own = dataset.name in self.library.names
                if not has_own:
                    LOG.warning("%s has no adapter of that name: nothing is left out for it", dataset.name)
                for method in self.methods:
                    if method == "oracle" and not has_own:
                        continue
                    bar.set_postfix_str(f"{dataset.name}, {method}")
                    tallies[method][dataset.name] = self._tally(method, dataset, bar)
        return {method: self._score(each) for method, each in tallies.items()}

    def _tally(self, method: str, dataset: Dataset, bar: tqdm[Any]) -> ConfusionMatrix:
        confusion = ConfusionMatrix(len(self.pipeline.classes))
        self.pipeline.encode_classes()
        self._fused = None
        for shot in dataset:
            self._fuse(self._mixture(method, dataset.name, shot))
            size = shot.labels.shape[0], shot.labels.shape[1]
            predicted, _ = self.pipeline.segment(self.inference.resized(shot.rgb), self.inference.mode, size)
            confusion.add(shot.labels, predicted)
            bar.update()
        return confusion

    def _mixture(self, method: str, domain: str, shot: Shot) -> Mixture:
        others = tuple(name for name in self.library.names if name != domain)
        if method == "zero_shot":
            return Mixture()
        if method == "uniform":
            return Mixture(others, (1 / len(others),) * len(others), (0.0,) * len(others))
        if method == "oracle":
            return Mixture((domain,), (1.0,), (0.0,))
        return self.pipeline.retrieve(self.pipeline.navigator.embed(shot.rgb), exclude=(domain,))

    def _fuse(self, mixture: Mixture) -> None:
        if mixture != self._fused:
            self.pipeline.fuse(mixture)
            self._fused = mixture

    def _score(self, tallies: dict[str, ConfusionMatrix]) -> Score:
        miou = {domain: confusion.miou for domain, confusion in tallies.items()}
        names = [each.name for each in self.pipeline.classes]
        iou = {
            domain: {names[i]: float(100 * c.iou[i]) for i in np.flatnonzero(c.counts.sum(1))}
            for domain, c in tallies.items()
        }
        return Score(miou, harmonic_mean(miou.values()) if miou else float("nan"), iou)
