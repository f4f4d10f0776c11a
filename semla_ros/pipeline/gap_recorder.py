"""Records the images that no adapter fits while the pipeline runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore

from semla_ros.adaptation.gaps import Gaps
from semla_ros.config import GapsConfig
from semla_ros.errors import RecordingError
from semla_ros.images.frame import Frame
from semla_ros.library.adapter_library import AdapterLibrary
from semla_ros.pipeline.embedding import EmbeddingResult
from semla_ros.pipeline.gap_record import GapRecord

LOG = logging.getLogger(__name__)
MAX_WAITING = 8  # images; while the disk is slow, further ones are counted as missed
WRITE_PERIOD_S = 5.0
STATE_BYTES = 2**20  # of the limit on disk, kept free for the state


class GapRecorder:
    """Groups the images that no adapter fits and writes a record of them, in a thread of its own.

    No error ends the recording or disturbs the pipeline: it is logged once and stays in `problem` until writing works
    again. A record that exists is continued; a damaged one and one of another navigator are put aside.

    Args:
        config: Folder and limits.

    Attributes:
        problem: Why the record cannot be written at present; empty while it can.
        missed: Number of images that were left out because the disk is slow.
    """

    def __init__(self, config: GapsConfig) -> None:
        self._config = config
        self._record = GapRecord(Path(config.folder))
        self._gaps: Gaps | None = None
        self._cameras: dict[str, int] = {}  # frame_id to number, in order of appearance
        self.problem, self.missed = "", 0
        self._logged: set[str] = set()
        self._written_s = -WRITE_PERIOD_S
        self._room = BoundedSemaphore(MAX_WAITING)
        self._thread = ThreadPoolExecutor(1, "semla_gaps")

    @property
    def folder(self) -> Path:
        """Folder of the record."""
        return self._record.folder

    def note(self, newest: EmbeddingResult, library: AdapterLibrary) -> None:
        """Passes an embedded image to the thread. Returns at once.

        Args:
            newest: The image and its embedding.
            library: Adapters that may fit it.
        """
        if self._room.acquire(blocking=False):
            self._thread.submit(self._take, newest, library)
        else:
            self.missed += 1

    def processor_s(self) -> float:
        """Waits until all images that were passed are recorded; returns the processor time of the thread, seconds."""
        return self._thread.submit(time.thread_time).result()

    def flush(self) -> None:
        """Waits until all images that were passed are recorded, and writes the state."""
        self._thread.submit(self._reporting, self._write_state).result()

    def close(self) -> None:
        """Does the same as `flush`, and ends the thread."""
        self.flush()
        self._thread.shutdown()

    def key_values(self) -> dict[str, str]:
        """Returns the state as pairs of strings for a diagnostic message."""
        gaps = self._gaps or Gaps(1, 1)
        return {
            "gap_images": f"{gaps.count} of {gaps.seen}", "gap_groups": str(len(gaps.gaps)),
            "gap_images_missed": str(self.missed), "gap_problem": self.problem,
        }  # fmt: skip

    def _take(self, newest: EmbeddingResult, library: AdapterLibrary) -> None:
        try:
            self._reporting(lambda: self._add(newest, library))
        finally:
            self._room.release()

    def _reporting(self, action: Callable[[], object]) -> None:
        """Calls a function. Its error is logged once and kept in `problem`."""
        try:
            action()
        except Exception as error:  # whatever it is, the frames go on
            cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
            reason = cause.strerror if isinstance(cause, OSError) else f"{type(error).__name__}: {error}"
            self.problem = f"gaps cannot be recorded in {self._record.folder}: {reason}"
            if self.problem not in self._logged:
                self._logged.add(self.problem)
                LOG.warning("%s. Segmentation goes on.", self.problem)

    def _add(self, newest: EmbeddingResult, library: AdapterLibrary) -> None:
        """Counts an image, and records it if no adapter fits it."""
        gaps = self._gaps = self._gaps or self._opened(len(newest.embedding))
        stamp_ns = self._distinct_stamp(newest.frame)
        gaps.see(stamp_ns)
        if not library.is_in_distribution(newest.embedding, newest.texture):
            keeps, dropped = gaps.add(newest.embedding, stamp_ns, library.domain_distance)
            try:
                self._record.drop(dropped)
                if keeps:
                    self._record.keep(stamp_ns, newest.frame.rgb)
            except Exception:
                if keeps:
                    gaps.forget(stamp_ns)
                raise
            self._limit(gaps)
        if time.monotonic() - self._written_s >= WRITE_PERIOD_S:
            self._write_state()

    def _distinct_stamp(self, frame: Frame) -> int:
        """The stamp of a frame plus the number of its camera, as synchronised cameras have the same stamps."""
        return frame.stamp_ns + self._cameras.setdefault(frame.frame_id, len(self._cameras))

    def _limit(self, gaps: Gaps) -> None:
        """Gives up examples while the record is too large."""
        limit = self._config.disk_mib * 2**20 - STATE_BYTES
        while self._record.image_bytes > limit and (dropped := gaps.thin()):
            self._record.drop(dropped)

    def _opened(self, dimension: int) -> Gaps:
        """The state on disk, or a new one. Only here is the folder created: a disk that was removed stays away."""
        gaps = None
        try:
            gaps = self._record.open(dimension)
        except RecordingError as error:
            LOG.warning("gaps: moved to %s, a new record begins: %s", self._record.put_aside(), error)
        gaps = gaps or Gaps(self._config.groups, self._config.images)
        gaps.max_gaps, gaps.max_examples = self._config.groups, self._config.images
        return gaps

    def _write_state(self) -> None:
        if self._gaps is not None:
            self._record.write(self._gaps)
            self._written_s = time.monotonic()
            self.problem = ""
