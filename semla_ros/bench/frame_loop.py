"""Segments frames one after the other as the live node does, in a process of its own, a few seconds at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from semla_ros.machine import limit_spinning

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline

IMAGE = 360, 640  # height and width, pixels


class FrameLoop:
    """A process that segments frames while it is asked to; use it in a ``with`` statement, which ends it.

    Args:
        environment: Variables that differ from this process's; a value of None removes one.
        settings: Settings of the pipeline.
        fixed: Whether the number of threads stays as it is.

    Raises:
        SemlaError: The pipeline cannot be built.
    """

    def __init__(self, environment: Mapping[str, str | None], settings: Mapping[str, Any], fixed: bool) -> None:
        self._process: Executor = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            with _changed(environment):  # the process starts with its first task
                self._process.submit(_start, dict(settings), fixed).result()
        except BaseException:
            self._process.shutdown()
            raise

    def __enter__(self) -> FrameLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.shutdown(cancel_futures=True)

    def run(self, seconds: float) -> list[float]:
        """Segments frames for some time, at least one. Returns the time of each frame, milliseconds."""
        return self._process.submit(_run, seconds).result()


PIPELINE: list[SemlaPipeline] = []  # of the process


def _start(settings: dict[str, Any], fixed: bool) -> None:
    limit_spinning()
    from semla_ros.config import NodeConfig, changed
    from semla_ros.pipeline.build import build_live_pipeline

    pipeline = build_live_pipeline(changed(NodeConfig(), settings))
    pipeline.threads = None if fixed else pipeline.threads
    PIPELINE.append(pipeline)


def _run(seconds: float) -> list[float]:
    import numpy as np

    from semla_ros.images.frame import Frame

    rgb = np.random.default_rng(0).integers(0, 256, (*IMAGE, 3), np.uint8)
    times: list[float] = []
    begin = time.perf_counter()
    while (start := time.perf_counter()) < begin + seconds or not times:
        PIPELINE[0].process(Frame(rgb, time.time_ns(), "bench"))
        times.append(1e3 * (time.perf_counter() - start))
    return times


@contextmanager
def _changed(environment: Mapping[str, str | None]) -> Iterator[None]:
    """Changes this process's environment for a while."""
    with patch.dict(os.environ):
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        yield
