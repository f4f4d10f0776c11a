"""How well a library serves domains it has no adapter for (SemLA, Table 1: leave-one-out)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semla_ros.domain.retrieval import Mixture, retrieve
from semla_ros.evaluation.metrics import ConfusionMatrix, harmonic_mean
from semla_ros.pipeline import SemlaPipeline
from semla_ros.streetworld.dataset import Sample, sample

METHODS = ("zero_shot", "uniform", "semla", "oracle")
HELD_OUT_SEED = 1_000_001  # the training seeds are small numbers


@dataclass(frozen=True)
class Score:
    """mIoU in percent.

    Attributes:
        per_domain: One value a domain.
        h_mean: Their harmonic mean.
    """

    per_domain: dict[str, float]
    h_mean: float


class LeaveOneOut:
    """Compares ways of mixing adapters, the target domain's own one removed (but for the oracle, which has only it).

    Args:
        pipeline: Its networks, library, k and temperature are used; its tracker is not: every picture stands alone.
    """

    def __init__(self, pipeline: SemlaPipeline) -> None:
        self.pipeline = pipeline
        self.library = pipeline.library
        self._fused: Mixture | None = None

    def run(self, domains: Sequence[str], pictures: int, seed: int = HELD_OUT_SEED) -> dict[str, Score]:
        """Scores every method on freshly rendered StreetWorld pictures.

        Args:
            domains: Names; each needs an adapter of its own in the library.
            pictures: Number a domain.
            seed: Of the streets.
        """
        miou: dict[str, dict[str, float]] = {method: {} for method in METHODS}
        for domain in (bar := tqdm(domains, desc="evaluate")):
            bar.set_postfix_str(domain)
            samples = [sample(domain, index, seed) for index in range(pictures)]
            for method in METHODS:
                miou[method][domain] = self._score(method, domain, samples)
        return {method: Score(values, harmonic_mean(values.values())) for method, values in miou.items()}

    def _score(self, method: str, domain: str, samples: Sequence[Sample]) -> float:
        confusion = ConfusionMatrix(len(self.pipeline.classes))
        for shot, mixture in zip(samples, self._mixtures(method, domain, samples), strict=True):
            self._fuse(mixture)
            confusion.add(shot.labels, self.pipeline.segmenter.segment(shot.rgb)[0])
        return confusion.miou

    def _mixtures(self, method: str, domain: str, samples: Sequence[Sample]) -> Iterator[Mixture]:
        others = tuple(name for name in self.library.names if name != domain)
        for shot in samples:
            if method == "zero_shot":
                yield Mixture()
            elif method == "uniform":
                yield Mixture(others, (1 / len(others),) * len(others), (0.0,) * len(others))
            elif method == "oracle":
                yield Mixture((domain,), (1.0,), (0.0,))
            else:
                yield self._retrieved(self.pipeline.navigator.embed(shot.rgb), others)

    def _retrieved(self, embedding: NDArray[np.float64], names: tuple[str, ...]) -> Mixture:
        centroids = self.library.centroids_of(names)
        return retrieve(embedding, names, centroids, self.pipeline.k, self.pipeline.temperature)

    def _fuse(self, mixture: Mixture) -> None:
        if mixture != self._fused:
            self.pipeline.fuser.apply([self.library.load(name) for name in mixture.names], mixture.weights)
            self.pipeline.segmenter.refresh_text()
            self._fused = mixture
