"""A batch run: embed all images, cluster the embeddings, fuse once for each cluster, segment cluster by cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from semla_ros.batch.clusters import find_centroids, nearest_clusters
from semla_ros.batch.ledger import Ledger
from semla_ros.batch.outputs import Outputs
from semla_ros.batch.reading import Portion
from semla_ros.batch.rows import Embedded, End, Row, Segmented, Skipped
from semla_ros.batch.sources import Source
from semla_ros.batch.stages import EmbeddingStage, SegmentationStage, Stage
from semla_ros.batch.workers import RayWorkers
from semla_ros.config import Config, walk
from semla_ros.errors import AdapterError, BatchError, SemlaError
from semla_ros.library.manifest import fingerprint
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.progress import ProgressBar
from semla_ros.recordings import OnError

# Settings that do not change the results, or are not used by a batch run.
IRRELEVANT = ("model.device", "model.threads", "navigator.", "tracker.", "library.memory_mib", "gaps.")


@dataclass
class BatchSummary:
    """Results of a batch run.

    Attributes:
        images: Number of images whose files are complete, those of earlier runs included.
        new: Number of them that this run segmented.
        skipped: Number of images that could not be read or segmented.
        clusters: Number of clusters.
        fusions: Number of fusions in this run.
        workers: Number of workers.
        embed_s: Seconds from the first to the last embedding of this run.
        segment_s: Seconds from the first to the last segmentation of this run.
        total_s: Seconds of this run.
    """

    images: int = 0
    new: int = 0
    skipped: int = 0
    clusters: int = 0
    fusions: int = 0
    workers: int = 0
    embed_s: float = 0.0
    segment_s: float = 0.0
    total_s: float = 0.0


class BatchRun:
    """One run into one output folder. It continues an earlier run of the same settings there.

    Args:
        sources: The recordings.
        out: Output folder.
        config: Settings of the pipeline.
        workers: Processes that embed and segment.
        distance: Embedding distance between clusters; 0 takes the upper swap threshold that follows from the library.
        on_error: Called with the error of each image that is skipped.
    """

    def __init__(
        self, sources: Sequence[Source], out: Path, config: Config, workers: RayWorkers, distance: float = 0.0,
        on_error: OnError = lambda error: None,
    ) -> None:  # fmt: skip
        self._sources, self._out, self._config, self._workers = sources, out, config, workers
        self._distance, self._on_error = distance, on_error
        self._summary = BatchSummary()

    def run(self) -> BatchSummary:
        """Runs until every image is segmented or skipped.

        Raises:
            BatchError: The folder holds files of another run, a worker failed, or no image could be read.
            ImageError: The output cannot be written.
            SemlaError: The bundle is damaged, or a setting is wrong.
        """
        begin = time.monotonic()
        pipeline = build_pipeline(replace(self._config, model=replace(self._config.model, device="cpu")))
        if not pipeline.library.names:
            raise AdapterError("no adapters", where=pipeline.bundle.path, hint="Batch mode fuses them.")
        self._outputs = Outputs(self._out, self._sources)
        self._ledger = Ledger(self._out, self._settings(pipeline), self._sources)
        try:
            self._outputs.write_classes(pipeline.classes)
            self._embed()
            self._cluster(pipeline)
            del pipeline  # the workers have their own
            self._segment()
        finally:
            self._outputs.write_manifest(self._ledger)
            self._ledger.close()
        self._summary.total_s = time.monotonic() - begin
        return self._summary

    def _embed(self) -> None:
        """Pass 1: embeds every image that has no embedding yet."""
        portions = [Portion(self._sources[i], i, known, others=True) for i, known in self._ledger.unread()]
        counts = [self._sources[each.index].frame_count() for each in portions]
        known = sum(len(each.numbers) for each in portions)
        total = None if None in counts else sum(count or 0 for count in counts)
        with ProgressBar(total=total, initial=known, desc="embed", unit="image") as bar:
            self._summary.embed_s = self._compute(portions, bar, EmbeddingStage)

    def _cluster(self, pipeline: SemlaPipeline) -> None:
        """Clusters all embeddings; those that were added later join the nearest cluster."""
        ledger, centroids = self._ledger, self._ledger.clusters()[0]
        if not ledger.count()[1]:
            first = next(iter(ledger.skipped()), (0, 0, "no images"))[2]
            raise BatchError("no image could be read", got=first)
        if not len(centroids):
            centroids = find_centroids(ledger.vectors, self._distance or pipeline.library.domain_distance)
            ledger.add_clusters(centroids, [pipeline.retrieve(centroid) for centroid in centroids])
        for frames, vectors in ledger.embeddings(without_cluster=True):
            ledger.assign(frames, nearest_clusters(vectors, centroids).tolist())
        self._summary.clusters = len(centroids)

    def _segment(self) -> None:
        """Pass 2: segments every image without files, cluster by cluster."""
        ledger = self._ledger
        ledger.finish(
            [(source, number) for source, number, name in ledger.waiting() if self._outputs.exist(source, name)]
        )
        portions = [Portion(self._sources[i], i, numbers, cluster=c) for c, i, numbers in ledger.unsegmented()]
        done, total = ledger.count()
        with ProgressBar(total=total, initial=done, desc="segment", unit="image") as bar:
            self._summary.segment_s = self._compute(portions, bar, SegmentationStage, ledger.clusters()[1])
        self._summary.images, self._summary.skipped = ledger.count()[0], len(ledger.skipped())

    def _compute(self, portions: Sequence[Portion], bar: ProgressBar, stage: type[Stage], *arguments: Any) -> float:
        """Applies a stage to images and stores each result as it comes.

        Args:
            portions: Images, possibly none. The workers start if there are some.
            bar: Advances by one with each image.
            stage: Class of the stage.
            *arguments: Further arguments of the class.

        Returns:
            Seconds from the first to the last result.
        """
        if not portions:
            return 0.0
        self._workers.start()
        config, threads = self._of_a_worker()
        begin = end = None
        for row in self._workers.map(portions, stage, config, threads, *arguments):
            end = time.monotonic()
            begin = begin or end
            bar.update(self._stored(row))
        return end - begin if begin and end else 0.0

    def _stored(self, row: Row) -> bool:
        """Stores a result; returns whether it is that of an image."""
        if isinstance(row, Embedded):
            self._ledger.add_embedding(row)
        elif isinstance(row, Segmented):
            self._outputs.write(row, self._ledger.name(row.source, row.number))
            self._ledger.finish([(row.source, row.number)])
            self._summary.new += 1
            self._summary.fusions += row.fused
        elif isinstance(row, Skipped):
            self._ledger.skip(row.source, row.number, row.error)
            self._on_error(SemlaError(row.error))
        elif isinstance(row, End):
            self._ledger.set_total(row.source, row.total)
        return not isinstance(row, End)

    def _of_a_worker(self) -> tuple[Config, int]:
        """The settings and the number of threads of a worker."""
        model = replace(self._config.model, device=self._workers.device)
        self._summary.workers = self._workers.count
        return replace(self._config, model=model), self._workers.threads

    def _settings(self, pipeline: SemlaPipeline) -> dict[str, str]:
        """All that decides about the results, besides the recordings."""
        values = {path: str(value) for path, _, value in walk(self._config) if not path.startswith(IRRELEVANT)}
        path, library = pipeline.bundle.path.resolve(), pipeline.library
        values |= {"model.bundle": f"{path} {fingerprint(path)}", "--distance": str(self._distance)}
        return values | {"adapters": f"{', '.join(library.names)} {library.fingerprint}"}
