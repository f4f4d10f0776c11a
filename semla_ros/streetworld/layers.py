"""Label, depth and surface properties of every pixel, before light and weather are applied."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld import THINGS
from semla_ros.streetworld.camera import Pose
from semla_ros.streetworld.layout import StreetLayout, bend, centerline
from semla_ros.streetworld.lots import lot
from semla_ros.streetworld.materials import Surface, shade_materials
from semla_ros.streetworld.mesh import LABEL, Material, Mesh
from semla_ros.streetworld.scene import Scene

Array = NDArray[np.float32]
MIN_INSTANCE = 20  # pixels; a third of all objects are smaller, far away or hidden behind others


@dataclass(frozen=True, slots=True)
class Layers:
    """Image layers that do not depend on light and weather.

    Attributes:
        albedo: Reflectance, linear light, (H, W, 3) float32.
        label: Class ids, (H, W) uint8.
        instance: Instances of `THINGS`, (H, W) uint16: 1 to n without gaps, numbered per image. 0 elsewhere, and where
            fewer than `MIN_INSTANCE` pixels of an object are visible.
        depth: Depth along the optical axis in metres, (H, W) float32; 1000 in the sky.
        facing: `Facing` of each pixel, (H, W) uint8.
        ground: True on road, pavement and verge, (H, W) bool.
        sky: True in the sky, (H, W) bool.
        glow: Light emitted by lamps, lit windows and car lights when they are on, (H, W, 3) float32.
        always_lit: True where lamps are also on by day, for example traffic lights, (H, W) bool.
        street: Street coordinates u, h, s of each pixel in metres, (3, H, W) float32.
        snow_cover: How well snow stays on the surface, 0 to 1, (H, W) float32.
        shadow_limit: Cotangent of the sun's elevation above which a pixel lies in the shadow of the houses on the
            left (row 0) or right (row 1), (2, H, W) float32.
        contact_shade: Share of light that remains under cars and people, 1 elsewhere, (H, W) float32.
        ray_right: Tangent of the angle of each pixel's ray to the right of the optical axis, (H, W) float32.
        ray_up: Tangent of the angle of each pixel's ray above the horizon, (H, W) float32.
        layout: Cross-section of the place.
        visible: Number of visible objects of each kind; small ones are not counted.
    """

    albedo: Array
    label: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    depth: Array
    facing: NDArray[np.uint8]
    ground: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    glow: Array
    always_lit: NDArray[np.bool_]
    street: Array
    snow_cover: Array
    shadow_limit: Array
    contact_shade: Array
    ray_right: Array
    ray_up: Array
    layout: StreetLayout
    visible: Counter[str]


def shade(
    scene: Scene, mesh: Mesh, faces: NDArray[np.uint16], rows: Array, depth: Array, rays: Array, up: Array
) -> Layers:
    """Computes the surface properties of every pixel.

    Args:
        scene: The scene.
        mesh: Faces of the scene.
        faces: Index into ``rows`` of the face at each pixel, (H, W) uint16.
        rows: Properties of the ground, of the sky and of each face, see `Mesh.arrays`, (N, 11) float32.
        depth: Depth in metres, (H, W) float32.
        rays: Directions of the pixels in street axes, (H, W, 3) float32.
        up: Tangent of the angle of the rays above the horizon, (H, W) float32.
    """
    layout, pose = scene.layout, scene.pose
    street = _street_coordinates(layout, pose, rays, depth)
    index = faces.astype(np.intp)
    _, object_id, label, kind, facing = (np.ascontiguousarray(rows[:, i]) for i in range(5))
    material = np.take(kind.astype(np.uint8), index)
    surface = Surface(
        label=np.take(label.astype(np.uint8), index),
        material=material,
        facing=np.take(facing.astype(np.uint8), index),
        object_id=np.take(object_id.astype(np.int32), index),
        albedo=np.take(np.ascontiguousarray(rows[:, 5:8]), index, axis=0),
        glow=np.take(np.ascontiguousarray(rows[:, 8:11]), index, axis=0),
        street=street,
        depth=depth,
    )
    cover = shade_materials(surface, layout, scene.seed)
    ground = (material == Material.GROUND) | (material == Material.SHADOW)
    return Layers(
        albedo=surface.albedo,
        label=surface.label,
        instance=_instances(surface.label, surface.object_id),
        depth=depth,
        facing=surface.facing,
        ground=ground,
        sky=material == Material.SKY,
        glow=surface.glow,
        always_lit=material == Material.SIGNAL,
        street=street,
        snow_cover=cover,
        shadow_limit=_shadow_limit(scene, street, ground),
        contact_shade=np.where(material == Material.SHADOW, np.float32(0.45), np.float32(1.0)),
        ray_right=rays[..., 0],
        ray_up=up,
        layout=layout,
        visible=_visible_objects(mesh, surface.object_id),
    )


def _street_coordinates(layout: StreetLayout, pose: Pose, rays: Array, depth: Array) -> Array:
    """Street coordinates u, h, s of each pixel in metres, (3, H, W); the street bends."""
    local = rays * depth[..., None]
    s = local[..., 2] + np.float32(pose.s)
    center, slope = bend(layout, pose.s)
    u = local[..., 0] + np.float32(pose.u + center) + np.float32(slope) * local[..., 2] - centerline(layout, s)
    return np.stack([u, local[..., 1] + np.float32(pose.h), s])


def _shadow_limit(scene: Scene, street: Array, ground: NDArray[np.bool_]) -> Array:
    """A house of height h at lateral distance d shades the ground if cot(sun's elevation) > d / h."""
    layout, first = scene.layout, int(scene.pose.s // scene.layout.cell) - 1
    limit = np.full((2, *ground.shape), np.inf, np.float32)
    if layout.ceiling:
        return limit
    u, s = street[0][ground], street[2][ground]
    index = np.clip((s / layout.cell).astype(np.int32) - first, 0, 15)
    for row, side in enumerate((-1, 1)):
        heights = np.array([lot(layout, scene.seed, side, first + i)[1] for i in range(16)], np.float32)
        limit[row][ground] = (layout.front - side * u) / heights[index]
    return limit


def _instances(label: NDArray[np.uint8], object_id: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Numbers the visible things. The shadow of a car belongs to its object, but has the label of the ground."""
    things = np.isin(label, [LABEL[name] for name in THINGS])
    _, where, pixels = np.unique(object_id[things], return_inverse=True, return_counts=True)
    large = pixels >= MIN_INSTANCE
    out = np.zeros(label.shape, np.uint16)
    out[things] = np.where(large, np.cumsum(large), 0)[where]
    return out


def _visible_objects(mesh: Mesh, object_id: NDArray[np.int32], min_pixels: int = 40) -> Counter[str]:
    """Number of objects of each kind that cover at least ``min_pixels``."""
    pixels = np.bincount(object_id.ravel() + 1, minlength=len(mesh.kinds) + 1)[1:]
    return Counter(kind for kind, count in zip(mesh.kinds, pixels, strict=True) if count >= min_pixels)
