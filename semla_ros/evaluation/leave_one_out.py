"""Leave-one-out: how well a library adapts to domains that it has no adapter for (SemLA, Table 1)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.errors import AdapterError
from semla_ros.evaluation.dataset import Dataset, LabelledImage
from semla_ros.evaluation.metrics import harmonic_mean
from semla_ros.evaluation.oracle import Oracle
from semla_ros.evaluation.tally import Tally
from semla_ros.modeling.base import Mode
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.progress import ProgressBar
from semla_ros.text import counted

LOG = logging.getLogger(__name__)
METHODS = ("zero_shot", "uniform", "semla", "oracle")


@dataclass(frozen=True)
class Score:
    """mIoU of one method, percent.

    Attributes:
        per_domain: Domain to mIoU. Domains without any evaluated pixel are missing, and for the oracle also those
            without an adapter.
        h_mean: Harmonic mean over the domains; NaN without any domain.
        per_class: Domain to class to IoU, percent, for the classes that occur in the ground truth.
        pq: Domain to panoptic quality, percent, for the domains whose ground truth has instances, if the segmenter has
            instances, too.
    """

    per_domain: dict[str, float]
    h_mean: float
    per_class: dict[str, dict[str, float]]
    pq: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Inference:
    """How images are segmented.

    Attributes:
        mode: "plain" segments the whole image at once, "sliding" uses the paper's sliding window.
        short_side: Length that the shorter side is resized to before segmentation, pixels; 0 does not resize.
        long_side: Upper limit of the longer side after resizing, pixels; it takes precedence over ``short_side``.
        oracle: What the ground truth gives, see `semla_ros.evaluation.oracle`; None for nothing.
    """

    mode: Mode = "plain"
    short_side: int = 0
    long_side: int = 0
    oracle: Oracle | None = None

    def resized(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resizes an image (H, W, 3) uint8 bilinearly with Pillow, as the official evaluation does."""
        if not self.short_side:
            return rgb
        height, width = rgb.shape[:2]
        scale = min(self.short_side / min(height, width), self.long_side / max(height, width))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))


class LeaveOneOut:
    """Compares methods of fusing adapters on domains whose own adapter is removed from the library.

    The methods of `METHODS`: "zero_shot" uses no adapter, "uniform" all other adapters with equal weights, "semla"
    the mixture that is retrieved for each image, and "oracle" only the own adapter of the domain.

    Args:
        pipeline: Supplies networks, library, k and temperature. Its tracker is not used: every image gets a mixture of
            its own.
        inference: How images are segmented.
        methods: Methods to compare, some of `METHODS`.

    Raises:
        AdapterError: The library has fewer than two adapters, and another method than "zero_shot" is wanted.
    """

    def __init__(
        self, pipeline: SemlaPipeline, inference: Inference = Inference(), methods: Sequence[str] = METHODS
    ) -> None:
        self.pipeline, self.inference, self.methods = pipeline, inference, methods
        self.library = pipeline.library
        self._needs_adapters = set(methods) != {"zero_shot"}
        if len(self.library.names) < 2 and self._needs_adapters:
            got, hint = counted(len(self.library.names), "adapter"), "The method zero_shot needs none."
            raise AdapterError("nothing to leave out", got=got, expected="two or more", hint=hint)
        self._fused: Mixture | None = None

    def run(self, datasets: Sequence[Dataset]) -> dict[str, Score]:
        """Evaluates every method on every domain, with one tally for each combination.

        Args:
            datasets: One data set per domain. The name of a data set is the name of the domain's own adapter.

        Returns:
            Method to score. Domains without an own adapter, and those without a score, are logged as warnings.

        Raises:
            AdapterError: An adapter is damaged or does not fit the segmenter.
            ConfigError: There is an oracle, but the ground truth has no instances or the segmenter does not classify
                masks.
        """
        tallies: dict[str, dict[str, Tally]] = {method: {} for method in self.methods}
        with ProgressBar(total=len(self.methods) * sum(map(len, datasets)), desc="evaluate", unit="image") as bar:
            for dataset in datasets:
                has_own = dataset.name in self.library.names
                if not has_own and self._needs_adapters:
                    LOG.warning("%s: the library has no adapter of this name, so none is left out", dataset.name)
                for method in self.methods:
                    if method == "oracle" and not has_own:
                        continue
                    bar.set_postfix_str(f"{dataset.name}, {method}", refresh=False)
                    tallies[method][dataset.name] = self._tally(method, dataset, bar)
                self._explain_missing_score(dataset.name, tallies)
        return {method: self._score(each) for method, each in tallies.items()}

    def _tally(self, method: str, dataset: Dataset, bar: ProgressBar) -> Tally:
        """Segments all images of one domain by one method."""
        tally = Tally(self.pipeline, dataset, self.inference.oracle)
        self.pipeline.encode_classes()
        self._fused = None
        for image in dataset:
            self._fuse(self._mixture(method, dataset.name, image))
            tally.add(image, self.inference.resized(image.rgb), self.inference.mode)
            bar.update()
        return tally

    def _mixture(self, method: str, domain: str, image: LabelledImage) -> Mixture:
        """The mixture that a method uses for one image of a domain."""
        others = tuple(name for name in self.library.names if name != domain)
        if method == "zero_shot":
            return Mixture()
        if method == "uniform":
            return Mixture(others, (1 / len(others),) * len(others), (0.0,) * len(others))
        if method == "oracle":
            return Mixture((domain,), (1.0,), (0.0,))
        return self.pipeline.retrieve(self.pipeline.navigator.embed(image.rgb), exclude=(domain,))

    def _fuse(self, mixture: Mixture) -> None:
        """Fuses a mixture, unless it is the one that is fused already."""
        if mixture != self._fused:
            self.pipeline.fuse(mixture)
            self._fused = mixture

    def _explain_missing_score(self, domain: str, tallies: dict[str, dict[str, Tally]]) -> None:
        """Logs why a domain that was evaluated has no score."""
        evaluated = [each[domain] for each in tallies.values() if domain in each]
        if evaluated and not evaluated[0].confusion.counts.any():
            classes = ", ".join(each.name for each in self.pipeline.classes)
            reason = "no pixel of its ground truth has one of the evaluated classes"
            LOG.warning("%s has no score: %s (%s). It is left out of the mean.", domain, reason, classes)

    def _score(self, tallies: dict[str, Tally]) -> Score:
        scored = {domain: tally for domain, tally in tallies.items() if tally.confusion.counts.any()}
        miou = {domain: tally.confusion.miou for domain, tally in scored.items()}
        pq = {domain: tally.quality.mean for domain, tally in scored.items() if tally.quality}
        pq = {domain: value for domain, value in pq.items() if math.isfinite(value)}
        names = [each.name for each in self.pipeline.classes]
        iou = {
            domain: {names[i]: float(100 * confusion.iou[i]) for i in np.flatnonzero(confusion.counts.sum(1))}
            for domain, confusion in ((domain, tally.confusion) for domain, tally in scored.items())
        }
        return Score(miou, harmonic_mean(miou.values()) if miou else float("nan"), iou, pq)
