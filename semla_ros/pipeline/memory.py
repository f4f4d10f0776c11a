"""What a segmenter does when memory runs out: it takes less of it, and repeats the image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from semla_ros.modeling.base import Mode, Segmenter

Images = TypeVar("Images")
Result = TypeVar("Result")
LOG = logging.getLogger(__name__)
SMALLEST_MIB = 1  # as a memory limit: one window, and one class at the size of the image, at a time
SMALL_BATCHES = "images are computed in the smallest batches"
PLAIN_MODE = "images are computed in the plain mode"
# How the operating system, PyTorch's allocators, CUDA and its libraries name it, in lower case.
SIGNS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "alloc_failed",
    "bad_alloc",
)


class MemorySaver:
    """Segments with less memory from the moment on that memory has run out.

    Each time it runs out, one more step is taken and the same image is computed again:

    1. the smallest batches: one window, and one class at the size of the image, at a time. The result is the same but
       for rounding;
    2. the plain mode in place of the sliding window.

    The steps stay in force until `restore` is called: another attempt would cost a frame each time.

    Args:
        segmenter: The segmenter.

    Attributes:
        measure: What is done to save memory, for people; empty as long as memory has sufficed.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter, self._memory_mib = segmenter, segmenter.memory_mib
        self.measure = ""

    def run(
        self,
        compute: Callable[[Images, Mode, tuple[int, int] | None], Result],
        images: Images,
        mode: Mode,
        size: tuple[int, int] | None,
    ) -> Result:
        """Returns what a method of the segmenter computes.

        Args:
            compute: `semla_ros.modeling.base.Segmenter.segment`, or another method with its arguments.
            images: Its first argument: an image (H, W, 3) uint8, RGB, or several.
            mode: One pass ("plain") or sliding window ("sliding").
            size: Height and width of the result; None for those of the image.

        Raises:
            RuntimeError, MemoryError: Memory has run out and no step is left, or something else has failed.
        """
        while True:
            try:
                return compute(images, "plain" if self.measure == PLAIN_MODE else mode, size)
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error) or not self._save(mode, error):
                    raise
            # The next attempt begins here, where the tensors that the error's traceback refers to are gone.

    def restore(self) -> None:
        """Computes as configured again."""
        self.measure, self._segmenter.memory_mib = "", self._memory_mib

    def _save(self, mode: Mode, error: Exception) -> bool:
        """Takes the next step; returns False if none is left."""
        if not self.measure:
            self.measure, self._segmenter.memory_mib = SMALL_BATCHES, SMALLEST_MIB
        elif mode == "sliding" and self.measure != PLAIN_MODE:
            self.measure = PLAIN_MODE
        else:
            return False
        LOG.warning("memory ran out (%s): from now on %s", first_line(error), self.measure)
        return True


def ran_out_of_memory(error: Exception) -> bool:
    """Returns whether an error means that memory ran out, on the GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def first_line(error: Exception) -> str:
    """Returns the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
