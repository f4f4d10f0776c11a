"""What the record of gaps costs: on the way of a frame, and in its own thread."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.config import Config, changed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.build import build_pipeline
from semla_ros.pipeline.embedding import embedded
from semla_ros.pipeline.gap_recorder import WRITE_PERIOD_S
from semla_ros.progress import ProgressBar
from semla_ros.streetworld.dataset import sample

DOMAIN, KNOWN = "snow_day", "corridor"  # of the images, and the only one that the library knows
SIZES = {"384x240": (384, 240), "1920x1080": (1920, 1080)}
RENDERED = 10  # images, which are repeated


@dataclass(frozen=True)
class GapCost:
    """Results of the measurement for one size of images, when nearly all of them are in gaps.

    Attributes:
        images: Number of embedded images, and how many of them were in gaps, for example "195 of 200".
        note_ms: Median time that a frame waits for the record, milliseconds.
        work_ms: Mean processor time of the thread for an embedded image, with its share of the state, milliseconds.
        waiting_share: Share of a camera's time that frames wait, percent.
        work_share: Processor time of the thread as a share of one core, percent.
        disk_mib: Size of the record, MiB.
    """

    images: str
    note_ms: float
    work_ms: float
    waiting_share: float
    work_share: float
    disk_mib: float


def gap_costs(config: Config, images: int) -> dict[str, GapCost]:
    """Measures the record with a library that knows one domain, on images of another one.

    Args:
        config: Settings of the pipeline; one image is embedded for each of its navigator periods.
        images: Number of embedded images.

    Returns:
        Size to results.
    """
    rendered = [sample(DOMAIN, number, seed=1_000_001).rgb for number in range(RENDERED)]
    return {
        name: _gap_cost(config, [np.asarray(cv2.resize(rgb, size)) for rgb in rendered], images)
        for name, size in SIZES.items()
    }


def _gap_cost(config: Config, rendered: list[NDArray[np.uint8]], images: int) -> GapCost:
    period_s = config.navigator.period_s
    with TemporaryDirectory(prefix="semla_gaps_") as place:
        known = build_pipeline(config).library
        unknown = [name for name in known.names if name != KNOWN]
        pipeline = build_pipeline(changed(config, {"gaps.folder": place, "library.exclude": unknown}))
        recorder = pipeline.gaps
        assert recorder is not None
        embeddings = [embedded(pipeline.navigator, Frame(rgb, 0)) for rgb in rendered]
        waits, before_s = [], recorder.processor_s()
        for number in ProgressBar(range(images), desc="gaps", unit="image"):
            frame = Frame(rendered[number % RENDERED], round(number * 1e9 * period_s))
            begin = time.perf_counter()
            recorder.note(replace(embeddings[number % RENDERED], frame=frame), pipeline.library)
            waits.append(time.perf_counter() - begin)
            recorded_s = recorder.processor_s()
        recorder.flush()
        state_s = recorder.processor_s() - recorded_s
        work_s = (recorded_s - before_s) / images + state_s * period_s / WRITE_PERIOD_S
        counted = recorder.key_values()["gap_images"]
        pipeline.close()
        disk = sum(file.stat().st_size for file in Path(place).rglob("*") if file.is_file())
    wait_s = float(np.median(waits))
    return GapCost(counted, 1e3 * wait_s, 1e3 * work_s, 100 * wait_s / period_s, 100 * work_s / period_s, disk / 2**20)
