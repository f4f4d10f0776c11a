"""The rows of the benchmark for one size: our network, the reference computation and PEFT's way, in turn."""

from __future__ import annotations

import array
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.bench.halves import Half, in_halves
from semla_ros.bench.measure import Stopwatch, Timing, undisturbed
from semla_ros.bench.peer import PeftPeer
from semla_ros.bench.reference import reference_logits, reference_text
from semla_ros.bench.subject import Subject
from semla_ros.config import Config
from semla_ros.images.conversion import decode, to_mono8
from semla_ros.machine import peak_mib
from semla_ros.progress import ProgressBar

MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """Figures of one size on one device.

    Attributes:
        ratios: Ratio to its value, from medians of this run.
        stages_ms: Row to its times.
        differences: Largest differences between our logits and those of the reference, bare and with a mixture.
        halves: Half precision to its forward pass.
        memory_mib: Part of the memory to its size, MiB.
    """

    ratios: dict[str, float]
    stages_ms: dict[str, Timing]
    differences: dict[str, float]
    halves: dict[str, Half]
    memory_mib: dict[str, float]


def measure(subject: Subject) -> Measured:
    """Measures all rows."""
    watch, repeats = Stopwatch(), subject.options.repeats
    slow_repeats = max(2, repeats // 3)
    with torch.inference_mode(False), torch.no_grad(), undisturbed():
        embeddings = _embeddings(subject)
        differences = _peers(subject, watch, embeddings, slow_repeats)
        _swaps(subject, watch, embeddings, repeats)
        _stages(subject, watch, repeats)
        stages = watch.timings()
        halves = in_halves(subject, stages["forward"].median, slow_repeats)
    return Measured(_ratios(stages), stages, differences, halves, _memory(subject))


def _embeddings(subject: Subject) -> Iterator[NDArray[np.float64]]:
    """Yields random embeddings (D,)."""
    draw = np.random.default_rng(4)
    while True:
        yield draw.normal(size=subject.navigator.embed_dim)


def _swaps(subject: Subject, watch: Stopwatch, embeddings: Iterator[NDArray[np.float64]], repeats: int) -> None:
    """Measures forward passes without a mixture and right after a swap, in turn. The weights change before both."""
    network, pixels, segmenter = subject.segmenter.network, subject.pixels(), subject.segmenter
    for repeat in ProgressBar(range(-1, repeats), desc="swap and forward"):
        record = watch if repeat >= 0 else Stopwatch()
        subject.fuse(Mixture())
        segmenter.refresh_text()
        with record.row("forward"):
            network(pixels, segmenter.text)
        embedding = next(embeddings)
        with record.row("retrieve"):
            mixture = subject.retrieve(embedding)
        with record.row("fuse"):
            subject.fuse(mixture)
        with record.row("text"):
            segmenter.refresh_text()
        with record.row("forward_after_swap"):
            network(pixels, segmenter.text)
    subject.fuse(Mixture())
    segmenter.refresh_text()


def _peers(
    subject: Subject, watch: Stopwatch, embeddings: Iterator[NDArray[np.float64]], repeats: int
) -> dict[str, float]:
    """Measures the reference, bare and with PEFT; returns how much our logits differ from both."""
    network, pixels, tokens = subject.segmenter.network, subject.pixels(), subject.segmenter.tokens
    bare = reference_logits(network, pixels, reference_text(network.clip, tokens))
    differences = {"bare": _difference(bare, network(pixels, subject.segmenter.text))}
    peer = PeftPeer(copy.deepcopy(network), subject.adapters)
    for repeat in ProgressBar(range(-1, repeats), desc="reference and PEFT"):
        record = watch if repeat >= 0 else Stopwatch()
        with record.row("reference_text"):
            text = reference_text(network.clip, tokens)
        with record.row("reference"):
            reference_logits(network, pixels, text)
        mixture = subject.retrieve(next(embeddings))
        with record.row("peft_add"):
            peer.add(mixture)
        with record.row("peft_set"):
            peer.activate()
        fresh = reference_text(peer.network.clip, tokens)
        with record.row("peft_forward"):
            theirs = reference_logits(peer.network, pixels, fresh)
        with record.row("peft_delete"):
            peer.delete()
    subject.fuse(mixture)
    subject.segmenter.refresh_text()
    return differences | {"mixture": _difference(theirs, network(pixels, subject.segmenter.text))}


def _stages(subject: Subject, watch: Stopwatch, repeats: int) -> None:
    """Measures the other stages of a frame."""
    rgb = subject.rgb
    message = SimpleNamespace(
        height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=rgb.shape[1] * 3, is_bigendian=0,
        data=array.array("B", rgb.tobytes()),
    )  # fmt: skip
    for _ in ProgressBar(range(repeats), desc="other stages"):
        with watch.row("decode"):
            decode(message)
        with watch.row("embed"):
            subject.navigator.embed(rgb)
        with watch.row("segment"):
            labels, confidence = subject.segmenter.segment(rgb)
        with watch.row("publish"):
            _published(labels, confidence)


def _published(labels: NDArray[np.int64], confidence: NDArray[np.float32]) -> tuple[array.array[int], ...]:
    """Fills mask and confidence into arrays as messages hold them; DDS is not included."""
    return tuple(array.array("B", pixels.tobytes()) for pixels in (labels.astype(np.uint8), to_mono8(confidence)))


def _ratios(stages: dict[str, Timing]) -> dict[str, float]:
    ms = {name: timing.median for name, timing in stages.items()}
    swap = ms["retrieve"] + ms["fuse"] + ms["text"]
    settings = Config()
    return {
        "peft_over_fuse": (ms["peft_add"] + ms["peft_set"] + ms["peft_delete"]) / (ms["retrieve"] + ms["fuse"]),
        "swap_over_forward": swap / ms["forward"],
        "forward_after_swap": ms["forward_after_swap"] / ms["forward"],
        "reference_over_forward": ms["reference"] / ms["forward"],
        "peft_forward_over_forward": ms["peft_forward"] / ms["forward"],
        "reference_text_over_text": ms["reference_text"] / ms["text"],
        "embed_over_forward": ms["embed"] / ms["forward"],
        "adapting_share": (ms["embed"] / settings.navigator.period_s + swap / settings.tracker.min_interval_s) / 1e3,
    }


def _memory(subject: Subject) -> dict[str, float]:
    adapted = sum(layer.weight.nbytes for layer in subject.fuser.layers.values())
    out: dict[str, Any] = {
        "adapted_weights": adapted / MIB,
        "their_base": adapted / MIB,
        "library": sum(each.nbytes for each in subject.adapters) / MIB,
        "peak_host": peak_mib(),
    }
    if subject.segmenter.device.type == "cuda":
        out["peak_device"] = torch.cuda.max_memory_allocated() / MIB
    return out


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())
