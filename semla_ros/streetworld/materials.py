"""Procedural textures of asphalt, facades, bricks, slats and leaves, computed for all pixels of a material at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.layout import StreetLayout
from semla_ros.streetworld.mesh import LABEL, Facing, Material
from semla_ros.streetworld.texture import hash_uniform, noise

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Surface:
    """Surface properties of every pixel; this module changes ``label``, ``albedo`` and ``glow`` in place.

    Attributes:
        label: Class ids, (H, W) uint8.
        material: `Material`, (H, W) uint8.
        facing: `Facing`, (H, W) uint8.
        object_id: Number of the object in the mesh, (H, W) int32; -1 for ground and sky.
        albedo: Reflectance, linear light, (H, W, 3) float32.
        glow: Emitted light, linear, (H, W, 3) float32.
        street: Street coordinates u, h, s in metres, (3, H, W) float32.
        depth: Depth in metres, (H, W) float32.
    """

    label: NDArray[np.uint8]
    material: NDArray[np.uint8]
    facing: NDArray[np.uint8]
    object_id: NDArray[np.int32]
    albedo: Array
    glow: Array
    street: Array
    depth: Array


def shade_materials(surface: Surface, layout: StreetLayout, seed: int) -> Array:
    """Computes the textures, and labels the ground as road, pavement or verge.

    Args:
        surface: Surface properties, changed in place.
        layout: Layout of the place.
        seed: Seed of the scene.

    Returns:
        How well snow stays on each pixel, 0 to 1, (H, W) float32.
    """
    cover: Array = np.where(surface.facing == Facing.UP, np.float32(0.95), np.float32(0.0))
    ground = np.flatnonzero((surface.material == Material.GROUND) | (surface.material == Material.SHADOW))
    _ground(surface, ground, layout, cover)
    for material, shader in ((Material.FACADE, _facade), (Material.BRICK, _brick), (Material.SLATS, _slats)):
        where = np.flatnonzero(surface.material == material)
        if where.size:
            shader(surface, where, _across(surface, where), surface.street[1].reshape(-1)[where])
    _foliage(surface, np.flatnonzero(surface.material == Material.FOLIAGE), cover)
    return cover


def _across(surface: Surface, where: NDArray[np.intp]) -> Array:
    """Horizontal coordinate in the plane of a vertical face, metres, at the flat pixel indices ``where``."""
    u, _, s = (axis.reshape(-1)[where] for axis in surface.street)
    across: Array = np.where(surface.facing.reshape(-1)[where] == Facing.CAMERA, u, s)
    return across


def _ground(surface: Surface, where: NDArray[np.intp], layout: StreetLayout, cover: Array) -> None:
    """Labels and colours road, pavement and verge; snow melts in the wheel tracks."""
    u, _, s = (axis.reshape(-1)[where] for axis in surface.street)
    out = np.abs(u)
    depth = surface.depth.reshape(-1)[where]
    grain = noise(u, s + layout.grain, 0.11) + 0.5 * noise(s, u + layout.grain, 0.9) - 0.7
    walk, verge = (out >= layout.road) & (out < layout.front), out >= layout.front
    label = np.full(where.shape, LABEL["road"], np.uint8)
    label[walk], label[verge] = LABEL["sidewalk"], LABEL["vegetation"]
    surface.label.reshape(-1)[where] = label
    tone = np.random.default_rng(layout.grain).uniform(0.75, 1.35, 4).astype(np.float32)
    color = np.array([0.075, 0.075, 0.08], np.float32) * tone[0] * np.ones((where.size, 1), np.float32)
    color[walk] = np.array([0.26, 0.245, 0.23], np.float32) * tone[1]
    color[verge] = np.array([0.09, 0.14, 0.035], np.float32) * tone[2]
    if layout.ceiling:
        color[:] = np.array([0.3, 0.27, 0.24], np.float32) * tone[:3]
    color *= (1.0 + np.where(verge, 1.6, 0.8).astype(np.float32) * grain)[:, None]
    fade = 1.0 / (1.0 + depth / 25.0)
    if layout.ceiling:
        color *= (1 - 0.3 * fade * ((np.mod(s, 0.6) < 0.04) | (np.mod(u, 0.6) < 0.03)))[:, None]
    else:
        _markings(color, u, s, out, layout, walk, fade)
    surface.albedo.reshape(-1, 3)[where] = np.maximum(color, 0.004)
    tracks = np.exp(-(((out - layout.lane) / 0.75 - np.sign(out - layout.lane)) ** 2) * 6.0) * (label == LABEL["road"])
    cover.reshape(-1)[where] = np.clip(1.0 - 0.8 * tracks - 0.5 * (label == LABEL["road"]) * (grain > 0.1), 0, 1)


def _markings(
    color: Array, u: Array, s: Array, out: Array, layout: StreetLayout, walk: NDArray[np.bool_], fade: Array
) -> None:
    """Colours lane markings, zebra crossings, kerbs and the joints between paving slabs."""
    dashes = (out < 0.09 + 0.002 / fade) & (np.mod(s, 9.0) < 4.0)
    edge = np.abs(out - (layout.road - 0.25)) < 0.07
    zebra = (np.mod(s, 4 * layout.cell) < 3.5) & (np.mod(s, 4 * layout.cell) > 0.7) & (np.mod(u, 1.0) < 0.5)
    zebra &= (out < layout.road - 0.3) & (layout.place == "street")
    color[dashes | edge | zebra] = np.array([0.6, 0.6, 0.57], np.float32)
    kerb = walk & (out < layout.road + 0.22)
    color[kerb] = np.array([0.42, 0.41, 0.4], np.float32)
    slabs = walk & ((np.mod(s, 1.2) < 0.05) | (np.mod(out - layout.road, 1.0) < 0.04))
    color[slabs] *= (1 - 0.5 * fade[slabs])[:, None]


def _facade(surface: Surface, where: NDArray[np.intp], x: Array, h: Array) -> None:
    object_id = surface.object_id.reshape(-1)[where]
    style = hash_uniform(object_id, np.full_like(object_id, 3))
    pitch, storey = 1.8 + 1.8 * style, 2.7 + 0.9 * np.mod(style * 7.3, 1.0)
    column, floor = np.floor(x / pitch).astype(np.int32), np.floor(h / storey).astype(np.int32)
    fx, fh = x / pitch - column, h / storey - floor
    wide = 0.22 + 0.14 * np.mod(style * 3.7, 1.0)
    pane = (np.abs(fx - 0.5) < wide) & (fh > 0.3) & (fh < 0.82)
    frame = (np.abs(fx - 0.5) < wide + 0.05) & (fh > 0.25) & (fh < 0.87) & ~pane
    window = hash_uniform(object_id, column, floor)
    color = surface.albedo.reshape(-1, 3)[where] * (0.8 + 0.4 * noise(x, h, 0.07))[:, None]
    color[frame] *= np.float32(1.35)
    color[pane] = np.array([0.05, 0.065, 0.085], np.float32) * (0.5 + 1.5 * window[pane])[:, None]
    surface.albedo.reshape(-1, 3)[where] = np.minimum(color, 0.9)
    lit = pane & (np.mod(window * 13.7, 1.0) < 0.38)
    warm = np.array([0.9, 0.55, 0.22], np.float32) + np.array([-0.2, 0.1, 0.35], np.float32) * window[lit][:, None]
    surface.glow.reshape(-1, 3)[where[lit]] = warm * (0.4 + 0.8 * window[lit])[:, None]


def _brick(surface: Surface, where: NDArray[np.intp], x: Array, h: Array) -> None:
    row = np.floor(h / 0.22).astype(np.int32)
    column = np.floor(x / 0.6 + 0.5 * (row & 1)).astype(np.int32)
    mortar = (np.mod(h, 0.22) < 0.035) | (np.mod(x / 0.6 + 0.5 * (row & 1), 1.0) < 0.06)
    color = surface.albedo.reshape(-1, 3)[where] * (0.75 + 0.5 * hash_uniform(row, column))[:, None]
    color[mortar] *= np.float32(0.6)
    surface.albedo.reshape(-1, 3)[where] = color * (0.8 + 0.4 * noise(x, h, 0.05))[:, None]


def _slats(surface: Surface, where: NDArray[np.intp], x: Array, h: Array) -> None:
    gap = (np.mod(x, 0.3) > 0.17) & (np.mod(h, 0.8) > 0.14)
    color = surface.albedo.reshape(-1, 3)[where]
    color[gap] = np.array([0.03, 0.04, 0.02], np.float32)
    surface.albedo.reshape(-1, 3)[where] = color


def _foliage(surface: Surface, where: NDArray[np.intp], cover: Array) -> None:
    u, h, s = (axis.reshape(-1)[where] for axis in surface.street)
    leaf = noise(u + 0.7 * s, h, 0.35) + 0.6 * noise(s + u, h, 0.09) - 0.35
    color = surface.albedo.reshape(-1, 3)[where] * np.clip(0.25 + 1.9 * leaf, 0.15, 2.0)[:, None]
    surface.albedo.reshape(-1, 3)[where] = color
    cover.reshape(-1)[where] = np.clip(3.0 * (leaf - 0.35), 0.0, 0.85)
