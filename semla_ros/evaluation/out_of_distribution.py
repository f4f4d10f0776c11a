"""How often the out-of-distribution flag is right: on real recordings, and on rendered streets that were held out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.tracker import DomainTracker
from semla_ros.errors import RecordingError, SemlaError
from semla_ros.evaluation.rendered import HELD_OUT_SEED
from semla_ros.images.frame import SECOND_NS
from semla_ros.images.texture import texture
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.progress import ProgressBar
from semla_ros.recordings import open_recording
from semla_ros.streetworld.domains import DOMAINS
from semla_ros.streetworld.drive import DEMO_LEGS, Drive, Leg

LOG = logging.getLogger(__name__)
Image = NDArray[np.uint8]
JUDGING_SEED = HELD_OUT_SEED + 100  # the test was designed on other held-out seeds
STREETS = 4  # drives per domain
LEG_S, TRANSITION_S = 9.0, 3.0
SETTLING_S = 2.0  # time after a change that is not steady yet
PERIOD_S = 0.5


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
    """Judges images in order, as the pipeline does: by moving averages over one image per navigator period.

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
            yield self._rate(source.stem, True, ((rgb, True) for rgb in frames))
        if not found:
            raise RecordingError(
                "no recordings", where=folder, expected="videos, bags or folders of images in a folder"
            )

    def rendered(self) -> Iterator[FlagRate]:
        """Yields the rate in the steady stretches of the demo's drive, and of four drives into each domain.

        Their streets are held out: no model was trained on them. The first two seconds after a change do not count.
        """
        period_s = self.pipeline.config.navigator.period_s or PERIOD_S
        yield self._rate("demo drive", False, _steady(Drive(DEMO_LEGS, 0, rate_hz=1 / period_s)))
        for number, domain in enumerate(DOMAINS):
            before = list(DOMAINS)[number - 1]
            legs = Leg(before, 1.0, TRANSITION_S), Leg(domain, LEG_S)
            drives = [Drive(legs, JUDGING_SEED + street, rate_hz=1 / period_s) for street in range(STREETS)]
            yield self._rate(domain, False, chain.from_iterable(map(_steady, drives)))

    def _rate(self, source: str, is_real: bool, images: Iterable[tuple[Image, bool]]) -> FlagRate:
        """Rate over the images that count; the others are averaged only."""
        config, library, flags = self.pipeline.config, self.pipeline.library, []
        tracker = DomainTracker(config.tracker, math.inf, math.inf, library.index.distance)
        for number, (rgb, counts) in enumerate(images):
            stamp_ns = round(number * (config.navigator.period_s or PERIOD_S) * SECOND_NS)
            tracker.update(self.pipeline.navigator.embed(rgb), stamp_ns, texture(rgb))
            assert tracker.ema is not None
            near = library.is_in_distribution(tracker.ema, tracker.texture), library.is_in_distribution(tracker.ema)
            if counts:
                flags.append(np.logical_not(near))
        flagged, by_embedding = (float(share) for share in 100 * np.mean(flags, 0))
        return FlagRate(source, is_real, len(flags), flagged, by_embedding)

    def _spread(self, source: Path) -> list[Image]:
        """Images of a recording, evenly spread; those that cannot be read are logged and left out."""
        recording, images, step = open_recording(source), list[Image](), 1
        chosen = _spread_over(recording.frame_count or 0, self.images)

        def is_wanted(number: int) -> bool:
            return number in chosen if chosen else number % step == 0

        for _, frame in recording.numbered_frames(lambda error: LOG.warning("%s", error), is_wanted):
            images.append(frame.rgb)
            if len(images) == 2 * self.images:  # of a recording whose number of images is not known
                del images[1::2]
                step *= 2
        if not images:
            raise RecordingError("no image can be read", where=source)
        return [images[number] for number in sorted(_spread_over(len(images), self.images))]


def _spread_over(count: int, wanted: int) -> set[int]:
    """Numbers from 0 to ``count`` - 1, evenly spread: ``wanted`` of them, or all if there are fewer."""
    return {number * count // wanted for number in range(wanted)} if count else set()


def _steady(drive: Drive) -> Iterator[tuple[Image, bool]]:
    """Yields each image of a drive, and whether it is in a steady stretch and not right after a change."""
    since_change_s = 0.0  # the averages may still hold another drive
    for frame in ProgressBar(drive.frames(), desc=drive.itinerary.legs[-1].domain, total=len(drive)):
        since_change_s = since_change_s + 1 / drive.rate_hz if frame.steady else 0.0
        yield frame.frame.rgb, since_change_s > SETTLING_S


def as_table(rates: Iterable[FlagRate]) -> str:
    """Formats rates as a Markdown table."""
    rows = ["| source | images | should be flagged | flagged, % | by embedding alone, % |"]
    rows.append("| --- | ---: | --- | ---: | ---: |")
    for each in rates:
        wanted = "yes" if each.is_real else "no"
        rows.append(f"| {each.source} | {each.images} | {wanted} | {each.flagged:.1f} | {each.by_embedding:.1f} |")
    return "\n".join(rows)
