"""Tileable value noise and a hash function, both vectorised, for the textures of surfaces."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
TILE = 512


@lru_cache(maxsize=1)
def _tile() -> Array:
    rng = np.random.default_rng(7)
    total = np.zeros((TILE, TILE), np.float32)
    for octave in range(2, 9):
        cells = 2**octave
        grid = np.pad(rng.random((cells, cells), dtype=np.float32), 2, mode="wrap")
        step = TILE // cells
        fine = cv2.resize(grid, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += fine[2 * step : 2 * step + TILE, 2 * step : 2 * step + TILE] * 0.62**octave
    total -= total.min()
    tile: Array = total / total.max()
    return tile


def noise(x: Array, y: Array, tiles_per_unit: float) -> Array:
    """Fractal value noise, 0 to 1, at coordinates of any shape. It repeats every ``1 / tiles_per_unit`` units."""
    scale = tiles_per_unit * TILE
    column = (x * scale).astype(np.int32) & (TILE - 1)
    row = (y * scale).astype(np.int32) & (TILE - 1)
    values: Array = _tile()[row, column]
    return values


def hash_uniform(*keys: NDArray[np.int32]) -> Array:
    """A reproducible uniform number in [0, 1) for each tuple of integers; all arrays have the same shape."""
    mixed: NDArray[np.uint32] = np.full(keys[0].shape, 0x9E3779B9, np.uint32)
    for key in keys:
        mixed = (mixed ^ key.astype(np.uint32)) * np.uint32(0x85EBCA6B)
        mixed = mixed ^ (mixed >> np.uint32(15))
        mixed = mixed * np.uint32(0xC2B2AE35)
        mixed = mixed ^ (mixed >> np.uint32(13))
    uniform: Array = (mixed >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)
    return uniform
