"""A camera's recording that is segmented while it is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from semla_ros.config import NodeConfig
from semla_ros.errors import SemlaError
from semla_ros.images.conversion import to_mono8
from semla_ros.recordings import OnError, Recording
from semla_ros.text import counted
from semla_ros.topics.domain import DomainSample, key_values
from semla_ros.view.results import Item
from semla_ros.view.scene import Scene
from semla_ros.view.source import FREEZE, RELOAD, RESET, ViewError

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline


class Segmented:
    """Runs the pipeline over a recording, image by image.

    Args:
        recording: The images.
        config: Settings of the pipeline.
    """

    def __init__(self, recording: Recording, config: NodeConfig) -> None:
        self._recording, self._config = recording, config
        self._lock = threading.Lock()  # held while the pipeline works
        self._pipeline: SemlaPipeline | None = None
        self._is_done = False

    def items(self, on_error: OnError) -> Iterator[Item]:
        """Loads the models and yields each image and the domain state after it.

        Args:
            on_error: Called with the error of each image that cannot be read or segmented.

        Raises:
            SemlaError: The models cannot be loaded, or the recording cannot be read.
        """
        from semla_ros.pipeline.build import build_pipeline  # imports torch, which takes seconds

        with closing(build_pipeline(self._config)) as pipeline:
            self._pipeline = pipeline
            for frame in self._recording.frames(on_error):
                try:
                    with self._lock:
                        result = pipeline.process(frame)
                except SemlaError as error:
                    on_error(error)
                    continue
                confidence = to_mono8(result.confidence)
                yield DomainSample.of(frame.stamp_ns, key_values(result.domain))
                yield Scene(frame.stamp_ns, frame.rgb, result.labels, confidence, pipeline.classes)
            self._is_done = True

    def act(self, action: str, value: Any) -> str:
        """Freezes or resets the adaptation, or reads the adapters again; in force from the next segmented image on.

        Raises:
            ViewError: The models are not loaded yet, nothing is left to segment, or the library cannot be read.
        """
        if self._is_done:
            raise ViewError("the whole recording has been segmented", hint="Start the view again to change anything.")
        if self._pipeline is None:
            raise ViewError("the models are still being loaded", hint="Try again in some seconds.")
        with self._lock:
            return _done(self._pipeline, action, bool(value))


def _done(pipeline: SemlaPipeline, action: str, value: bool) -> str:
    if action == FREEZE:
        pipeline.freeze(value)
        return "the mixture is held" if value else "the mixture follows the domain"
    if action == RESET:
        pipeline.reset()
        return "the next frame is treated as the first"
    if action != RELOAD:
        raise ViewError("no such action", got=action, expected=f"{FREEZE}, {RESET} or {RELOAD}")
    try:
        library = pipeline.read_library(lambda: None)
        pipeline.use_library(library)
    except SemlaError as error:
        raise ViewError("the library cannot be read again, the previous one stays", hint=str(error)) from error
    return f"the library was read again: {counted(len(library.names), 'adapter')} in use"
