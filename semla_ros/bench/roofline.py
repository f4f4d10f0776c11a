"""The roofline: the time that operations and bytes alone take at this machine's measured peak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from semla_ros.bench.measure import Timing, timed
from semla_ros.bench.subject import Subject

SIDE = 3072  # of the matrices whose product gives the peak rate


@dataclass(frozen=True)
class Peak:
    """Peak rates of the machine, measured.

    Attributes:
        gflops: Float32 matrix product, 10⁹ operations per second; a multiplication and an addition count as two.
        gbytes: Copy, 10⁹ bytes per second, those read and those written together.
    """

    gflops: float
    gbytes: float


@dataclass(frozen=True)
class Roofline:
    """Roofline of a row.

    Attributes:
        gflop: Operations, 10⁹.
        mbytes: Bytes of weights read and written, 10⁶.
        roofline_ms: The longer of the two times that they take at the peak rates, milliseconds.
        over_roofline: Measured median divided by ``roofline_ms``.
    """

    gflop: float
    mbytes: float
    roofline_ms: float
    over_roofline: float


def peak(device: str) -> Peak:
    """Measures a large matrix product and a large copy."""
    a, b = (torch.randn(SIDE, SIDE, device=device) for _ in range(2))
    c, large, copy = torch.empty_like(a), torch.randn(2**27, device=device), torch.empty(2**27, device=device)
    product = timed(lambda: torch.mm(a, b, out=c), 5).median
    moved = timed(lambda: copy.copy_(large), 5).median
    return Peak(2 * SIDE**3 / product / 1e6, 2 * large.nbytes / moved / 1e6)


def rooflines(subject: Subject, stages: dict[str, Timing], machine: Peak) -> dict[str, Roofline]:
    """Returns row to its roofline, for the forward pass, the text encoder, the fusion and the navigator."""
    network, segmenter, navigator = subject.segmenter.network, subject.segmenter, subject.navigator
    pixels, mixture = subject.pixels(), subject.retrieve(subject.index.centroids[0] + 1)
    text_bytes = sum(p.nbytes for p in network.clip.transformer.parameters())
    all_bytes = sum(p.nbytes for p in network.parameters()) - text_bytes - network.clip.token_embedding.weight.nbytes
    adapted = sum(layer.weight.nbytes for layer in subject.fuser.layers.values())
    work: dict[str, tuple[Callable[[], object], int]] = {
        "forward": (lambda: network(pixels, segmenter.text), all_bytes),
        "text": (segmenter.refresh_text, text_bytes),
        "fuse": (lambda: subject.fuse(mixture), 2 * adapted),
        "embed": (lambda: navigator.embed(subject.rgb), sum(p.nbytes for p in navigator.network.parameters())),
    }
    return {name: _roofline(run, moved, stages[name].median, machine) for name, (run, moved) in work.items()}


def least_ms(gflop: float, mbytes: float, machine: Peak) -> float:
    """Returns the longer of the times that operations and bytes take, milliseconds."""
    return max(1e3 * gflop / machine.gflops, mbytes / machine.gbytes)


def _roofline(run: Callable[[], object], moved: int, measured_ms: float, machine: Peak) -> Roofline:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    gflop, mbytes = counter.get_total_flops() / 1e9, moved / 1e6
    least = least_ms(gflop, mbytes, machine)
    return Roofline(gflop, mbytes, least, measured_ms / least)
