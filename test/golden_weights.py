"""Weights and a image for the parity fixture, the same on every machine.

A tensor depends on its key, its shape and the seed alone, so that a golden output can be kept without 600 MB of
weights. The scales give varied, unsaturated outputs: a wrong layer, a wrong order or a missing term shows.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


def keys(path: Path) -> dict[str, Shape]:
    """Key to shape of a state dict, from a table of both."""
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return {key: tuple(int(side) for side in shape.split(",") if side) for key, shape in rows}


def fill(shapes: dict[str, Shape], seed: int) -> dict[str, NDArray[np.float32]]:
    """A state dict. q_proj.weight is the same parameter as q_proj_weight and gets the same values."""
    return {key: tensor(key.replace("_proj.weight", "_proj_weight") if _shared(key) else key, shape, seed)
            for key, shape in shapes.items()}  # fmt: skip


def tensor(key: str, shape: Shape, seed: int) -> NDArray[np.float32]:
    """One parameter."""
    if key.endswith("logit_scale"):
        return np.full(shape, math.log(100.0), np.float32)
    noise = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(shape, dtype=np.float32)
    if len(shape) == 1 and key.endswith(".weight"):  # LayerNorm, GroupNorm
        return 1.0 + 0.1 * noise
    return noise * _scale(key, shape)


def factor(key: str, shape: Shape, seed: int) -> NDArray[np.float32]:
    """One factor of an adapter, by its official name."""
    noise = np.random.default_rng([seed, zlib.crc32(f"base_model.model.{key}.weight".encode())]).standard_normal(
        shape, dtype=np.float32
    )
    return noise * (shape[1] ** -0.5 if key.endswith("lora_A") else 0.05)


def image(height: int = 480, width: int = 640, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse to fine noise (H, W, 3) uint8, so that no two patches are alike."""
    draw = np.random.default_rng([seed, 7])
    out = np.full((height, width, 3), 120.0)
    for cell, amplitude in ((160, 60.0), (40, 40.0), (8, 25.0), (1, 8.0)):
        coarse = draw.standard_normal((height // cell, width // cell, 3))
        out += amplitude * coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return out.clip(0, 255).round().astype(np.uint8)


def _shared(key: str) -> bool:
    return key.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))


def _scale(key: str, shape: Shape) -> float:
    name = key.rsplit(".", 1)[-1]
    if "padding_" in key:
        return 0.5
    if name in ("bias", "in_proj_bias"):
        return 0.05
    if name == "class_embedding":
        return shape[-1] ** -0.5
    if name == "positional_embedding":
        return 0.3 if "visual" in key else 0.01
    if key.endswith("token_embedding.weight"):
        return 0.3
    transposed = "upsample" in key or key.endswith(("decoder1.up.weight", "decoder2.up.weight"))
    if transposed or name in ("proj", "text_projection"):
        return shape[0] ** -0.5
    return 6.0 if key.endswith("transformer.conv1.weight") else _gain(key) * math.prod(shape[1:]) ** -0.5


def _gain(key: str) -> float:
    if key.endswith("predictor.transformer.head.weight"):
        return 2.0
    if "clip_model" in key:
        return 0.6 if key.endswith("out_proj.weight") or key.endswith("c_proj.weight") else 1.2
    return 1.4
