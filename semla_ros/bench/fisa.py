"""`semla bench --size fisa-vitl14`: FISA's stages, and how time and memory grow with masks and classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from semla_ros.bench.fisa_reference import reference_scores
from semla_ros.bench.fisa_table import Measured, draw, show
from semla_ros.bench.live_memory import LiveMemory
from semla_ros.bench.measure import Stopwatch, Timing, undisturbed
from semla_ros.bench.subject import IMAGE, image, seeded
from semla_ros.machine import machine, versions
from semla_ros.modeling.fisa.architecture import VIT_L14, FisaArch
from semla_ros.modeling.fisa.merging import panoptic, semantic
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.segmenter import FisaSegmenter
from semla_ros.progress import ProgressBar

MIB = 2**20
MASKS, CLASSES = (1, 100, 300, 1000), (1, 150, 847)
SWIN_T = {
    "model_type": "swin", "embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
VIT_B16 = FisaArch(
    image_size=512, patch_size=16, position_grid=14, embed_dim=512,
    vision_width=768, vision_layers=12, vision_heads=12, text_width=512, text_layers=12, text_heads=8,
    seve_layers=tuple(range(12)), generator={"backbone_config": SWIN_T},
)  # fmt: skip
SIZES = {"fisa-vitb16": VIT_B16, "fisa-vitl14": VIT_L14}


def run(sizes: Sequence[str], classes: int, repeats: int, file: Path | None, plot: Path | None) -> dict[str, Any]:
    """Measures sizes with seeded weights, prints tables, writes JSON and a plot of the last size.

    Args:
        sizes: Names in `SIZES`.
        classes: Number of classes.
        repeats: Repetitions of every row.
        file: JSON file to write.
        plot: Image file to write.

    Returns:
        The content of the JSON file: ``sizes``, ``machine``, ``versions``, ``threads``.
    """
    out: dict[str, Any] = {"machine": machine(), "versions": versions(), "threads": torch.get_num_threads()}
    out["sizes"] = {}
    for size in sizes:
        measured = measure(SIZES[size], classes, repeats)
        out["sizes"][size] = asdict(measured)
        show(size, measured)
        if plot:
            draw(measured, plot)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(out, indent=2) + "\n")
    return out


def measure(arch: FisaArch, classes: int, repeats: int) -> Measured:
    """Measures everything for one size."""
    network = Fisa(arch)
    seeded(network)
    segmenter = FisaSegmenter(network, names(classes))
    rgb = image(*IMAGE)
    with torch.inference_mode():
        pixels, proposals = segmenter.pixels(rgb), network.generator(torch.from_numpy(rgb)[None])
        stages = _stages(segmenter, rgb, pixels, proposals, repeats)
        expected = reference_scores(network, pixels, proposals, segmenter.text)
        difference = float((network(pixels, proposals, segmenter.text)[0] - expected).abs().max())
        by_masks = {}
        for count in ProgressBar(MASKS, desc="masks"):
            by_masks[count] = _cost(partial(network, pixels, some(proposals, count), segmenter.text), repeats)
        by_classes = {}
        for count in ProgressBar(CLASSES, desc="classes"):
            segmenter.set_classes(names(count))
            by_classes[count] = _cost(partial(segment, segmenter, pixels, proposals), repeats)
    ratio = stages["reference"].median / stages["mask_tokens"].median
    return Measured(stages, ratio, difference, _operations(arch, classes), by_masks, by_classes)


def _operations(arch: FisaArch, classes: int) -> dict[int, tuple[float, float]]:
    """Number of masks to the operations of CLIP with mask tokens, ours and the straightforward ones, TFLOP."""
    with torch.device("meta"):  # shapes without memory and without work
        network = Fisa(arch).eval()
        pixels = torch.empty(1, 3, arch.image_size, arch.image_size)
        text = torch.empty(classes + bool(arch.void), arch.embed_dim)
    out = {}
    for count in MASKS:
        both = []
        for compute in (network, partial(reference_scores, network)):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                compute(pixels, torch.empty(1, count, 64, 64, device="meta"), text)
            both.append(counter.get_total_flops() / 1e12)
        out[count] = both[0], both[1]
    return out


def names(count: int) -> list[str]:
    """Returns names of that many classes."""
    return [f"thing {index}" for index in range(count)]


def some(proposals: Tensor, count: int) -> Tensor:
    """Returns that many masks: the proposals (1, m, h, w), repeated as often as needed."""
    times = -(-count // proposals.shape[1])
    return proposals.repeat(1, times, 1, 1)[:, :count]


def segment(segmenter: FisaSegmenter, pixels: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor]:
    """Classifies masks and merges them into the semantic map of an image."""
    scores, masks = segmenter.network(pixels, proposals, segmenter.text)
    return semantic(scores[0].float(), masks[0].float(), len(segmenter.classes), IMAGE)


def _stages(segmenter: FisaSegmenter, rgb: Any, pixels: Tensor, proposals: Tensor, repeats: int) -> dict[str, Timing]:
    network, watch, arch = segmenter.network, Stopwatch(), segmenter.network.arch
    classes, things = len(segmenter.classes), segmenter.things
    with undisturbed():
        for repeat in ProgressBar(range(-1, repeats), desc="stages"):
            record = watch if repeat >= 0 else Stopwatch()
            with record.row("text"):
                segmenter.refresh_text()
            with record.row("mask_generator"):
                network.generator(torch.from_numpy(rgb)[None])
            with record.row("distribution_adapter"):
                network.distribution(proposals)
            with record.row("plain_clip"):
                _plain(network, pixels)
            with record.row("mask_tokens"):
                scores, masks = network(pixels, proposals, segmenter.text)
            with record.row("reference"):
                reference_scores(network, pixels, proposals, segmenter.text)
            with record.row("semantic"):
                semantic(scores[0], masks[0], classes, IMAGE)
            with record.row("panoptic"):
                panoptic(scores[0], masks[0], things, IMAGE, 0.0, arch.overlap_threshold)
    return watch.timings()


def _plain(network: Fisa, pixels: Tensor) -> Tensor:
    """The image tokens of plain CLIP."""
    x = network.clip.visual.tokens(pixels)
    for block in network.clip.visual.transformer.resblocks:
        x = block(x)
    return x


def _cost(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Milliseconds, and MiB of tensors at a time."""
    watch = Stopwatch()
    with LiveMemory() as memory:
        work()
    with undisturbed():
        for _ in range(max(1, repeats // 3)):
            with watch.row("work"):
                work()
    return watch.timings()["work"].median, memory.peak / MIB
