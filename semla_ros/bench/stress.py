"""A drive whose domain changes all the time: are frames late when the mixture is swapped, and does memory grow?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.config import Config, changed
from semla_ros.images.frame import SECOND_NS, Frame
from semla_ros.machine import resident_mib, threads_and_files
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.progress import ProgressBar

AT_ONCE = {
    "tracker.debounce_s": 0.0,
    "tracker.min_interval_s": 0.0,
    "tracker.ema_time_s": 0.0,
    "tracker.min_weight_change": 0.0,
}
SAMPLES = 50  # of memory per run


@dataclass(frozen=True)
class Lateness:
    """How much later than usual masks were, in frame periods.

    Attributes:
        rate_hz: Frame rate, frames per second.
        frames: Number of frames shown; all of them were segmented.
        swaps: Number of frames that brought a swap.
        worst_at_swap: The latest of the frames that brought a swap.
        worst_after_swap: The latest of the frames right after a swap.
        worst_elsewhere: The latest of all others.
    """

    rate_hz: float
    frames: int
    swaps: int
    worst_at_swap: float
    worst_after_swap: float
    worst_elsewhere: float


@dataclass(frozen=True)
class Soak:
    """What a long run takes of the machine. Each growth is that from the second quarter of the samples to the last one.

    Attributes:
        frames: Number of frames segmented.
        swaps: Number of frames that brought a swap.
        resident_mib: Resident memory, MiB, sampled at even distances from the first frame to the last.
        growth_mib: Growth of the memory, MiB.
        thread_growth: Growth of the number of threads.
        file_growth: Growth of the number of open files, sockets included.
        changes: Number of parameter changes meanwhile.
        reloads: Number of times that the library was read again meanwhile.
    """

    frames: int
    swaps: int
    resident_mib: tuple[float, ...]
    growth_mib: float
    thread_growth: float
    file_growth: float
    changes: int = 0
    reloads: int = 0


class Samples:
    """Memory, threads and open files of a process over time.

    Args:
        process: Process id; by default this process.
    """

    def __init__(self, process: int | str = "self") -> None:
        self._process = process
        self.resident_mib: list[float] = []
        self._counts: list[tuple[int, int]] = []

    def take(self) -> None:
        """Takes one more sample."""
        self.resident_mib.append(resident_mib(self._process))
        self._counts.append(threads_and_files(self._process))

    def soak(self, frames: int, swaps: int, changes: int = 0, reloads: int = 0) -> Soak:
        """Returns the result of the run."""
        threads, files = zip(*self._counts, strict=True)
        memory = tuple(self.resident_mib)
        return Soak(frames, swaps, memory, growth(memory), growth(threads), growth(files), changes, reloads)


def stress_settings(every: int, rate_hz: float) -> dict[str, Any]:
    """Settings with which each change of the image brings a swap at once, the image changing every ``every`` frames."""
    return {**AT_ONCE, "navigator.period_s": every / rate_hz / 2}


def stress(config: Config, every: int, rate_hz: float) -> Config:
    """Puts `stress_settings` in place of those in ``config``."""
    return changed(config, stress_settings(every, rate_hz))


def drive(images: list[NDArray[np.uint8]], every: int, rate_hz: float) -> Iterator[Frame]:
    """Yields each image for ``every`` frames, then the next one, without end."""
    shown = (image for image in cycle(images) for _ in range(every))
    for index, image in enumerate(shown):
        yield Frame(image, SECOND_NS + round(index * SECOND_NS / rate_hz), "bench")


def lateness(
    pipeline: SemlaPipeline, images: list[NDArray[np.uint8]], swaps: int, rate_hz: float, every: int = 10
) -> Lateness:
    """Shows frames at a steady rate, in real time, until there were so many swaps.

    Args:
        pipeline: Configured by `stress`.
        images: One image per domain; the domains are far apart.
        swaps: Number of swaps.
        rate_hz: Frame rate, frames per second; the pipeline must be able to keep up with it.
        every: Frames between two changes of the domain.
    """
    delays, swapped = [], []
    start = time.perf_counter()
    with ProgressBar(total=swaps, desc="swaps at a steady rate") as bar:
        for index, frame in enumerate(drive(images, every, rate_hz)):
            due = start + index / rate_hz
            time.sleep(max(0.0, due - time.perf_counter()))
            swapped.append(pipeline.process(frame).domain.swapped)
            delays.append(time.perf_counter() - due)
            bar.update(swapped[-1])
            if sum(swapped) > swaps or index > 4 * swaps * every:
                break
    late = ((np.array(delays) - np.median(delays)) * rate_hz)[2:]  # the first mixture is no change
    at = np.array(swapped)[2:]
    after = np.array(swapped)[1:-1] & ~at
    return Lateness(rate_hz, len(delays), int(at.sum()), *(_worst(late[of]) for of in (at, after, ~at & ~after)))


def soak(pipeline: SemlaPipeline, images: list[NDArray[np.uint8]], frames: int, every: int = 20) -> Soak:
    """Segments frames one after the other, with a swap every ``every`` frames, and samples what the process takes.

    Args:
        pipeline: Configured by `stress`.
        images: One image per domain; the domains are far apart.
        frames: Number of frames.
        every: Frames between two changes of the domain.
    """
    samples, swaps, step = Samples(), 0, max(1, frames // SAMPLES)
    for index, frame in zip(ProgressBar(range(frames), desc="soak"), drive(images, every, 10.0), strict=False):
        swaps += pipeline.process(frame).domain.swapped
        if index % step == 0:
            samples.take()
    return samples.soak(frames, swaps)


def growth(samples: Sequence[float]) -> float:
    """From the median of the second quarter of the samples to that of the last quarter."""
    quarter = max(1, len(samples) // 4)
    return float(np.median(samples[-quarter:]) - np.median(samples[quarter : 2 * quarter]))


def _worst(late: NDArray[np.float64]) -> float:
    return float(late.max()) if late.size else 0.0
