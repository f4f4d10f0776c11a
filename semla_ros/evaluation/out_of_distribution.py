"""How often the out-of-distribution flag is right: on real recordings, and on rendered streets that were held out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.evaluation.rendered import HELD_OUT_SEED, RenderedDataset
from semla_ros.images.texture import texture
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.progress import ProgressBar
from semla_ros.recordings import open_recording
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.streetworld.drive import DEMO_LEGS, Drive, Leg

LOG = logging.getLogger(__name__)
Image = NDArray[np.uint8]
JUDGING_SEED = HELD_OUT_SEED + 100  # the percentile of the test was chosen on the other held-out seeds
LEG_S, TRANSITION_S = 9.0, 3.0


@dataclass(frozen=True)
class FlagRate:
    """Share of the images of one source that are flagged as out of distribution.

    Attributes:
        source: Name of the recording, of the domain or of the drive.
        is_real: Whether the images should be flagged.
        images: Number of images.
        flagged: Percentage that is flagged.
        by_embedding: Percentage that the embedding alone would flag.
    """

    source: str
    is_real: bool
    images: int
    flagged: float
    by_embedding: float


class OutOfDistribution:
    """Judges images one by one, as the pipeline does once per navigator period.

    Args:
        pipeline: Supplies navigator and library.
        images: Largest number of images per source, evenly spread over it.
    """

    def __init__(self, pipeline: SemlaPipeline, images: int = 40) -> None:
        self.pipeline, self.images = pipeline, images

    def real(self, folder: Path) -> Iterator[FlagRate]:
        """Yields the rate of each recording in a folder: a video, a bag, an image or a folder of images.

        What cannot be read is logged and left out.

        Raises:
            RecordingError: The folder is missing, or nothing in it can be read.
        """
        sources = sorted(folder.iterdir()) if folder.is_dir() else []
        found = 0
        for source in ProgressBar(sources, desc="real"):
            try:
                frames = self._spread(source)
            except SemlaError as error:
                LOG.warning("skipped %s: %s", source.name, error)
                continue
            found += 1
            yield self._rate(source.stem, True, frames)
        if not found:
            raise RecordingError(
                "no recordings", where=folder, expected="a folder of videos, bags, or folders of images"
            )

    def rendered(self) -> Iterator[FlagRate]:
        """Yields the rate of each rendered domain, on streets that no model was trained on."""
        for domain in ProgressBar(DOMAINS, desc="rendered"):
            yield self._rate(domain, False, (each.rgb for each in RenderedDataset(domain, self.images, JUDGING_SEED)))

    def drives(self) -> Iterator[FlagRate]:
        """Yields the rate in the steady stretches of the demo's drive and of a held-out drive through all domains."""
        period_s = self.pipeline.config.navigator.period_s or 0.5
        through_all = [Leg(domain, LEG_S, TRANSITION_S) for domain in DOMAINS]
        drives = ("demo drive", DEMO_LEGS, 0), ("drive through all domains", through_all, JUDGING_SEED)
        for name, legs, seed in drives:
            drive = Drive(legs, seed, rate_hz=1 / period_s)
            frames = ProgressBar(drive.frames(), desc=name, total=len(drive))
            yield self._rate(name, False, (each.frame.rgb for each in frames if each.steady))

    def _rate(self, source: str, is_real: bool, images: Iterable[Image]) -> FlagRate:
        flags = []
        for rgb in images:
            embedding, library = self.pipeline.navigator.embed(rgb), self.pipeline.library
            near = library.is_in_distribution(embedding, texture(rgb)), library.is_in_distribution(embedding)
            flags.append(np.logical_not(near))
        flagged, by_embedding = (float(share) for share in 100 * np.mean(flags, 0))
        return FlagRate(source, is_real, len(flags), flagged, by_embedding)

    def _spread(self, source: Path) -> list[Image]:
        """Images of a recording, evenly spread; those that cannot be read are logged and left out."""
        recording = open_recording(source)
        step = max(1, (recording.frame_count or self.images) // self.images)
        frames = recording.frames(lambda error: LOG.warning("%s", error))
        images = [frame.rgb for number, frame in enumerate(frames) if number % step == 0][: self.images]
        if not images:
            raise RecordingError("no image can be read", where=source)
        return images


def as_table(rates: Iterable[FlagRate]) -> str:
    """Formats rates as a Markdown table."""
    rows = ["| source | images | should be flagged | flagged, % | by embedding alone, % |"]
    rows.append("| --- | ---: | --- | ---: | ---: |")
    for each in rates:
        wanted = "yes" if each.is_real else "no"
        rows.append(f"| {each.source} | {each.images} | {wanted} | {each.flagged:.1f} | {each.by_embedding:.1f} |")
    return "\n".join(rows)
