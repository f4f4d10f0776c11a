"""Forward passes in half precision: their time, and how many pixels keep their class."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from semla_ros.bench.measure import timed
from semla_ros.bench.subject import Subject

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Half:
    """A forward pass in half precision.

    Attributes:
        forward_ms: Time, milliseconds.
        speedup: Time in float32 divided by this time.
        agreement: Share of pixels with the same class as in float32, percent. None for random weights: their classes
            are equally likely, and rounding decides.
    """

    forward_ms: float
    speedup: float
    agreement: float | None


def in_halves(subject: Subject, float32_ms: float, repeats: int) -> dict[str, Half]:
    """Measures every half precision, on CUDA also compiled. Afterwards the weights are as before.

    Args:
        subject: Segmenter to measure. On CUDA it stays compiled.
        float32_ms: Time of its forward pass in float32, milliseconds.
        repeats: Repetitions per precision.
    """
    network, segmenter, pixels = subject.segmenter.network, subject.segmenter, subject.pixels()
    whole, classes = copy.deepcopy(network.state_dict()), _classes(subject)
    out = {}
    for name, dtype, compiled in _variants(segmenter.device):
        network.float().load_state_dict(whole)
        network.to(dtype)
        if compiled:
            network.compile()
        segmenter.refresh_text()
        agreement = 100 * float((_classes(subject) == classes).mean()) if subject.images else None
        half = pixels.to(dtype)
        taken = timed(lambda half=half: network(half, segmenter.text), repeats).median  # type: ignore[misc]
        out[name] = Half(taken, float32_ms / taken, agreement)
    network.float().load_state_dict(whole)
    segmenter.refresh_text()
    return out


def _variants(device: torch.device) -> Iterator[tuple[str, torch.dtype, bool]]:
    for name, dtype in HALVES.items():
        yield name, dtype, False
    if device.type == "cuda":  # last: a compiled network stays so
        for name, dtype in HALVES.items():
            yield f"{name}_compiled", dtype, True


def _classes(subject: Subject) -> NDArray[np.int64]:
    """Returns the classes of every image's pixels."""
    return np.array([subject.segmenter.segment(rgb)[0] for rgb in subject.images])
