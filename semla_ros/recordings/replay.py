"""Runs the pipeline over a recording, without ROS and without dropping a frame."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from semla_ros.config import OutputConfig
from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.classes import Labels
from semla_ros.images.frame import Frame
from semla_ros.recordings import IncompleteError, OnError, Recording, with_ground_truth
from semla_ros.recordings.writer import result_bag

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline
    from semla_ros.pipeline.result import SegmentationResult


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of the active mixture.

    Attributes:
        stamp_ns: Stamp of the first frame that was segmented with the new mixture.
        names: Adapters of the new mixture, nearest first; empty for the base model.
        weights: Their weights.
    """

    stamp_ns: int
    names: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(slots=True)
class ReplaySummary:
    """Results of a replay.

    Attributes:
        frames: Number of images segmented and written.
        bad_frames: Number of images skipped because they could not be decoded or segmented.
        out_of_distribution_frames: Number of segmented images that are out of distribution for every adapter.
        incomplete: Why the recording ended early, with the number of missing images; None if it is complete.
        swaps: All changes of the mixture, in order.
        fps: Images per second of wall time, including reading and writing.
    """

    frames: int = 0
    bad_frames: int = 0
    incomplete: IncompleteError | None = None
    out_of_distribution_frames: int = 0
    swaps: list[Swap] = field(default_factory=list)
    fps: float = 0.0

    def count(self, result: SegmentationResult) -> None:
        """Adds a written result."""
        domain = result.domain
        self.frames += 1
        self.out_of_distribution_frames += domain.out_of_distribution
        if domain.swapped:
            self.swaps.append(Swap(result.frame.stamp_ns, domain.mixture.names, domain.mixture.weights))


def replay(
    recording: Recording,
    pipeline: SemlaPipeline,
    out: Path,
    *,
    config: OutputConfig | None = None,
    with_overlay: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], object] = lambda done, total: None,
    on_error: OnError = lambda error: None,
    score: Callable[[SegmentationResult, Labels], object] = lambda result, ground_truth: None,
) -> ReplaySummary:
    """Segments every image of a recording and writes a ROS 2 bag with the live node's topics.

    The bag is written in a hidden folder and moved to ``out`` when it is complete.

    Args:
        recording: The images.
        pipeline: A new pipeline, or one that has been reset: it keeps its state from one recording to the next.
        out: Bag to write: one MCAP file if the name ends in .mcap, otherwise a folder.
        config: Size and encoding of the images in the bag.
        with_overlay: Also write the images with the colours of the classes over them (JPEG).
        overwrite: Replace an existing bag.
        on_progress: Called after each segmented image with the number of images read and their total, None if unknown.
        on_error: Called with the error of each image or ground truth mask that is skipped, when the recording ends
            early, and once for each new reason why the adaptation fails.
        score: Called with each result that has a ground truth mask of the same stamp, and with the mask: class ids,
            (H, W).

    Returns:
        Numbers of frames, swaps and speed.

    Raises:
        RecordingError: ``out`` exists or cannot be written, or no image could be segmented.
    """
    _check_free(out, recording.path, overwrite)
    summary = ReplaySummary()

    def bad(error: SemlaError) -> None:
        if isinstance(error, IncompleteError):
            summary.incomplete = error
        else:
            summary.bad_frames += 1
        on_error(error)

    begin = time.perf_counter()
    threshold = pipeline.config.segmenter.min_confidence
    with _appearing(out) as folder, result_bag(folder, pipeline.classes, threshold, with_overlay, config) as bag:
        frames = with_ground_truth(recording.frames(bad), recording.ground_truth(on_error))
        for result, ground_truth in _results(pipeline, frames, bad, on_error):
            bag.write(result)
            summary.count(result)
            if ground_truth is not None:
                score(result, ground_truth)
            on_progress(summary.frames + summary.bad_frames, recording.frame_count)
        if not summary.frames:
            raise RecordingError(
                "no image could be segmented", where=recording.path, got=f"{summary.bad_frames} bad images"
            )
    summary.fps = summary.frames / (time.perf_counter() - begin)
    return summary


def _results(
    pipeline: SemlaPipeline, frames: Iterator[tuple[Frame, Labels | None]], bad: OnError, on_error: OnError
) -> Iterator[tuple[SegmentationResult, Labels | None]]:
    """Segments the frames in order. Each new reason why the adaptation fails is reported once."""
    reported = ""
    for frame, ground_truth in frames:
        try:
            result = pipeline.process(frame)
        except SemlaError as error:
            bad(SemlaError(f"stamp {frame.stamp_ns}: {error}"))
            continue
        reason = result.domain.error
        if reason and reason != reported:
            on_error(SemlaError(f"stamp {frame.stamp_ns}: cannot adapt: {reason}"))
        reported = reason
        yield result, ground_truth


def _check_free(out: Path, source: Path, overwrite: bool) -> None:
    """Raises a RecordingError unless a bag may be written to ``out``."""
    ours, theirs = out.resolve(), source.resolve()
    if out.exists() and (ours.is_relative_to(theirs) or theirs.is_relative_to(ours)):
        raise RecordingError("output would replace the recording itself", where=out, hint="Choose another name.")
    if out.exists() and not overwrite:
        raise RecordingError("output exists already", where=out, hint="Choose another name, or add --overwrite.")
    if out.is_file() and out.suffix != ".mcap":
        raise RecordingError("output is a file that is no bag", where=out, hint="Choose another name.")
    if out.is_dir() and not (out / "metadata.yaml").is_file():
        raise RecordingError("output is a folder that holds no bag", where=out, hint="Choose another name.")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Yields a hidden folder beside ``out`` for the bag. On success the bag is moved to ``out``."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        hidden = TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise RecordingError("output cannot be written", where=out, got=error.strerror) from error
    with hidden as place:
        folder = Path(place, out.stem if out.suffix == ".mcap" else out.name)
        try:
            yield folder
            _take_place(folder / out.name if out.suffix == ".mcap" else folder, out, Path(place, "replaced"))
        except OSError as error:
            hint = "Free space on the disk, or choose another place."
            raise RecordingError("output cannot be written", where=out, got=error.strerror, hint=hint) from error


def _take_place(bag: Path, out: Path, replaced: Path) -> None:
    """Moves a bag to ``out``, and a folder there to ``replaced``. If that fails, the folder returns to its name."""
    try:
        if out.is_dir():  # only a file can be replaced in one step
            out.rename(replaced)
        os.replace(bag, out)
    except BaseException:
        if replaced.exists():
            replaced.rename(out)
        raise
