"""A drive whose domain changes all the time: whether swaps cost frames, and whether memory grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semla_ros.config import Config, changed
from semla_ros.images.frame import Frame
from semla_ros.machine import resident_mib
from semla_ros.pipeline.pipeline import SemlaPipeline

SECOND_NS = 10**9
AT_ONCE = {
    "tracker.debounce_s": 0.0,
    "tracker.min_interval_s": 0.0,
    "tracker.ema_time_s": 0.0,
    "tracker.min_weight_change": 0.0,
}
SAMPLES = 50  # of memory


@dataclass(frozen=True)
class Lateness:
    """How late masks were, in frame periods, beyond what they usually take.

    Attributes:
        rate_hz: Frames a second, steady.
        frames: Frames shown, all of them segmented.
        swaps: Among them, brought a swap.
        worst_at_swap: Of the frames that brought a swap.
        worst_after_swap: Of the frames that came next.
        worst_elsewhere: Of all others.
    """

    rate_hz: float
    frames: int
    swaps: int
    worst_at_swap: float
    worst_after_swap: float
    worst_elsewhere: float


@dataclass(frozen=True)
class Soak:
    """Memory of a long run.

    Attributes:
        frames: Frames segmented.
        swaps: Among them, brought a swap.
        resident_mib: Memory held, at even distances from the first frame to the last.
        growth_mib: From the median of the second quarter to that of the last.
    """

    frames: int
    swaps: int
    resident_mib: tuple[float, ...]
    growth_mib: float


def stress(config: Config, every: int, rate_hz: float) -> Config:
    """Settings with which each change brings a swap at once, changes coming every so many frames."""
    return changed(config, {**AT_ONCE, "navigator.period_s": every / rate_hz / 2})


def drive(images: list[NDArray[np.uint8]], every: int, rate_hz: float) -> Iterator[Frame]:
    """Shows each image for ``every`` frames, then the next one, without end."""
    shown = (image for image in cycle(images) for _ in range(every))
    for index, image in enumerate(shown):
        yield Frame(image, SECOND_NS + round(index * SECOND_NS / rate_hz), "bench")


def lateness(
    pipeline: SemlaPipeline, images: list[NDArray[np.uint8]], swaps: int, rate_hz: float, every: int = 10
) -> Lateness:
    """Shows frames at a steady rate, in real time, until there were so many swaps.

    Args:
        pipeline: Configured by `stress`.
        images: One a domain, far apart.
        swaps: Number to wait for.
        rate_hz: Frames a second; the pipeline must keep up with it.
        every: Frames between two changes of the domain.
    """
    delays, swapped = [], []
    start = time.perf_counter()
    with tqdm(total=swaps, desc="swaps at a steady rate") as bar:
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
    """Segments frames as fast as it can, a swap every so often, and watches the memory.

    Args:
        pipeline: Configured by `stress`.
        images: One a domain, far apart.
        frames: Number of frames.
        every: Frames between two changes of the domain.
    """
    resident, swaps, step = [], 0, max(1, frames // SAMPLES)
    for index, frame in zip(tqdm(range(frames), desc="soak"), drive(images, every, 10.0), strict=False):
        swaps += pipeline.process(frame).domain.swapped
        if index % step == 0:
            resident.append(resident_mib())
    quarter = max(1, len(resident) // 4)
    growth = np.median(resident[-quarter:]) - np.median(resident[quarter : 2 * quarter])
    return Soak(frames, swaps, tuple(resident), float(growth))


def _worst(late: NDArray[np.float64]) -> float:
    return float(late.max()) if late.size else 0.0
