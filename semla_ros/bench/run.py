"""`semla bench`: all tables in one run, printed and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from semla_ros.bench.growth import draw, grow
from semla_ros.bench.jetson import estimates
from semla_ros.bench.roofline import peak, rooflines
from semla_ros.bench.rows import measure
from semla_ros.bench.subject import SIZES, Options
from semla_ros.bench.table import tables
from semla_ros.machine import machine, versions

MAIN = "vitb16"  # whose ratios are the claimed ones
NOT_MEASURED = "not measured: no CUDA device"


def run(sizes: Sequence[str], options: Options, file: Path | None = None, plot: Path | None = None) -> dict[str, Any]:
    """Measures sizes, prints tables, writes JSON and a plot of how times grow.

    Args:
        sizes: Names in `semla_ros.bench.subject.SIZES`.
        options: Sizes of the benchmark.
        file: JSON file to write.
        plot: PNG file to write.

    Returns:
        The content of the JSON file: ``ratios`` (of ViT-B/16 if it was measured, else of the first size), ``sizes``,
        ``growth``, ``peak``, ``machine``, ``versions``, ``settings``.
    """
    out: dict[str, Any] = {"machine": machine(), "versions": versions(), "settings": asdict(options)}
    out["settings"]["threads"] = torch.get_num_threads()
    best = peak(options.device)
    out |= {"peak": asdict(best), "sizes": {}, "growth": None}
    for size in sizes:
        subject = SIZES[size](options)
        measured = measure(subject)
        roofline = rooflines(subject, measured.stages_ms, best)
        out["sizes"][size] = {"classes": len(subject.segmenter.classes), **asdict(measured)}
        out["sizes"][size]["rooflines"] = {name: asdict(each) for name, each in roofline.items()}
        out["sizes"][size]["estimates_ms"] = estimates(roofline)
        out["sizes"][size]["cuda"] = _on_cuda(size, options)
        if size == MAIN or (size == sizes[-1] and out["growth"] is None):
            growth = grow(subject)
            out["growth"] = asdict(growth) | {"size": size}
            if plot:
                draw(growth, plot)
    out["ratios"] = out["sizes"][MAIN if MAIN in sizes else sizes[0]]["ratios"]
    for table in tables(out):
        Console().print(table)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(out, indent=2) + "\n")
    return out


def _on_cuda(size: str, options: Options) -> Any:
    if options.device != "cpu" or not torch.cuda.is_available():
        return NOT_MEASURED if options.device == "cpu" else None
    return asdict(measure(SIZES[size](replace(options, device="cuda"))))
