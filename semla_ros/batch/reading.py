"""The first stage of both passes: the images of a portion of a source, as they are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.batch.rows import Batch, End, Reading, Row, Skipped, packed
from semla_ros.batch.sources import Source
from semla_ros.errors import SemlaError
from semla_ros.recordings import FrameError, IncompleteError


@dataclass(frozen=True)
class Portion:
    """Some images of a source.

    Attributes:
        source: The source.
        index: Its number.
        numbers: Numbers of images, ascending.
        others: Whether all images but ``numbers`` are meant. Their end is then reported, too.
        cluster: Number of the cluster of the images; -1 before clustering.
    """

    source: Source
    index: int
    numbers: NDArray[np.int64]
    others: bool = False
    cluster: int = -1

    def rows(self) -> Iterator[Row]:
        """Yields the images, each with a `Reading` or, if it cannot be read, with a `Skipped`."""
        wanted = set(self.numbers.tolist())
        failed: list[Row] = []
        total, complete = 0, True

        def skip(error: SemlaError) -> None:
            nonlocal total, complete
            number = error.number if isinstance(error, FrameError) else total
            complete = complete and not isinstance(error, IncompleteError)
            total = max(total, number + complete)
            failed.append(Skipped(self.index, number, str(error)))

        def is_wanted(number: int) -> bool:
            nonlocal total
            total = max(total, number + 1)
            return (number in wanted) != self.others

        try:
            recording = self.source.open()
            for number, frame in recording.numbered_frames(skip, is_wanted):
                yield Reading(
                    self.index, number, recording.frame_name(number), frame, self.cluster, recording.file_size(number)
                )
                yield from failed
                failed.clear()
        except SemlaError as error:  # it cannot be opened
            failed.append(Skipped(self.index, total, str(error)))
            complete = False
        yield from failed
        if self.others and complete:
            yield End(self.index, total)


def read(batch: Batch, portions: Sequence[Portion]) -> Iterator[Batch]:
    """Yields the images of the portions whose numbers are in column "id"; a task of Ray Data."""
    for number in batch["id"]:
        for row in portions[number].rows():
            yield packed([row])
