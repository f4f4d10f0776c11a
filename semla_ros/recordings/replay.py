"""The pipeline over a recording, without ROS and without dropping a frame."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.encodings import Labels
from semla_ros.images.frame import Frame
from semla_ros.recordings import OnError, Recording, with_ground_truth
from semla_ros.recordings.writer import result_bag

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline
    from semla_ros.pipeline.result import SegmentationResult


@dataclass(frozen=True, slots=True)
class Swap:
    """One change of the active mixture.

    Attributes:
        stamp_ns: Stamp of the frame that brought it.
        names: Adapters, nearest first; empty for the bare base model.
        weights: Their weights.
    """

    stamp_ns: int
    names: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(slots=True)
class ReplaySummary:
    """What a replay came to.

    Attributes:
        frames: Images segmented and written.
        bad_frames: Images skipped: undecodable, or refused by the pipeline.
        out_of_distribution_frames: Segmented images with no adapter near.
        swaps: Every change of the mixture, in order.
        fps: Images per second of wall time, reading and writing included.
    """

    frames: int = 0
    bad_frames: int = 0
    out_of_distribution_frames: int = 0
    swaps: list[Swap] = field(default_factory=list)
    fps: float = 0.0

    def count(self, result: SegmentationResult) -> None:
        """Takes a written result into account."""
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
    with_overlay: bool = False,
    overwrite: bool = False,
    on_progress: Callable[[int, int | None], object] = lambda done, total: None,
    on_error: OnError = lambda error: None,
    score: Callable[[SegmentationResult, Labels], object] = lambda result, ground_truth: None,
) -> ReplaySummary:
    """Segments every image of a recording and writes a ROS 2 bag with the live node's topics.

    The bag appears under its name only when it is complete.

    Args:
        recording: The images.
        pipeline: Fresh, or reset: its state carries over.
        out: A name ending in .mcap becomes one MCAP file, any other the folder of a bag.
        with_overlay: Write images with the classes' colours over them, too.
        overwrite: Replace a bag that is there already.
        on_progress: Called after each segmented image: images done, bad ones included, and their number if known.
        on_error: Called with what was wrong with each bad image or ground truth mask, and with each new reason
            why adapting fails; the next image follows.
        score: Called with each result that has a ground truth mask of the same stamp, class ids (H, W).

    Raises:
        RecordingError: ``out`` exists or cannot be written, or no image could be segmented.
    """
    _check_free(out, recording.path, overwrite)
    summary = ReplaySummary()

    def bad(error: SemlaError) -> None:
        summary.bad_frames += 1
        on_error(error)

    begin = time.perf_counter()
    threshold = pipeline.config.segmenter.min_confidence
    with _appearing(out) as folder, result_bag(folder, pipeline.classes, threshold, with_overlay) as bag:
        frames = with_ground_truth(recording.frames(bad), recording.ground_truth(on_error))
        for result, ground_truth in _results(pipeline, frames, bad, on_error):
            bag.write(result)
            summary.count(result)
            if ground_truth is not None:
                score(result, ground_truth)
            on_progress(summary.frames + summary.bad_frames, recording.frame_count)
        if not summary.frames:
            bad_ones = f"{summary.bad_frames} bad ones"
            raise RecordingError("no image could be segmented", where=recording.path, got=bad_ones)
    summary.fps = summary.frames / (time.perf_counter() - begin)
    return summary


def _results(
    pipeline: SemlaPipeline, frames: Iterator[tuple[Frame, Labels | None]], bad: OnError, on_error: OnError
) -> Iterator[tuple[SegmentationResult, Labels | None]]:
    """Segments frame after frame; tells each new reason why adapting fails once."""
    told = ""
    for frame, ground_truth in frames:
        try:
            result = pipeline.process(frame)
        except SemlaError as error:
            bad(SemlaError(f"stamp {frame.stamp_ns}: {error}"))
            continue
        trouble = result.domain.error
        if trouble and trouble != told:
            on_error(SemlaError(f"stamp {frame.stamp_ns}: cannot adapt: {trouble}"))
        told = trouble
        yield result, ground_truth


def _check_free(out: Path, source: Path, overwrite: bool) -> None:
    if out.exists() and out.resolve() == source.resolve():
        raise RecordingError("output would replace the recording itself", where=out)
    if out.exists() and not overwrite:
        raise RecordingError("output exists already", where=out, hint="Choose another name, or overwrite it.")
    if out.is_dir() and not (out / "metadata.yaml").is_file():
        raise RecordingError("output is a folder that holds no bag", where=out, hint="Choose another name.")


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Gives a hidden place beside ``out`` to write the bag to; what is there moves to ``out`` if all went well."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        hidden = TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise RecordingError("output cannot be written", where=out, got=error.strerror) from error
    with hidden as place:
        folder = Path(place, out.stem if out.suffix == ".mcap" else out.name)
        yield folder
        if out.exists():
            out.rename(Path(place, "replaced"))
        shutil.move(folder / out.name if out.suffix == ".mcap" else folder, out)
