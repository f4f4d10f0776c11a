"""What the camera sees before light and weather: a label, a depth and a surface for every pixel."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.camera import Pose
from semla_ros.streetworld.layout import Layout, bend, centerline
from semla_ros.streetworld.lots import lot
from semla_ros.streetworld.materials import Surface, shade_materials
from semla_ros.streetworld.mesh import Material, Mesh
from semla_ros.streetworld.scene import Scene

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layers:
    """What the camera sees before light and weather.

    Attributes:
        albedo: Reflectance, linear light, (H, W, 3) float32.
        label: Class ids, (H, W) uint8.
        depth: Metres along the optical axis, (H, W) float32; the sky is at 1000.
        facing: `Facing` of each pixel, (H, W) uint8.
        ground: Pixels of road, pavement and verge, (H, W) bool.
        sky: Pixels of the sky, (H, W) bool.
        glow: Light that lamps, lit windows and car lights send when on, (H, W, 3) float32.
        always: Pixels whose lamps are on by day too, (H, W) bool.
        street: Street coordinates u, h, s of each pixel, (3, H, W) float32.
        cover: How much snow stays on a pixel, 0 to 1, (H, W) float32.
        reach: Cotangent of the sun's height at which shadow from the left and right reaches a pixel, (2, H, W).
        contact: 1 in the open, less under cars and people, (H, W) float32.
        beam: Direction of each ray right of the street, tangent, (H, W) float32.
        up: Height of each pixel's ray above the horizon, tangent, (H, W) float32.
        plan: Cross-section of the place.
        seen: Things in view by kind, each at least some pixels large.
    """

    albedo: Array
    label: NDArray[np.uint8]
    depth: Array
    facing: NDArray[np.uint8]
    ground: NDArray[np.bool_]
    sky: NDArray[np.bool_]
    glow: Array
    always: NDArray[np.bool_]
    street: Array
    cover: Array
    reach: Array
    contact: Array
    beam: Array
    up: Array
    plan: Layout
    seen: Counter[str]


def shade(
    scene: Scene, mesh: Mesh, faces: NDArray[np.uint16], rows: Array, depth: Array, rays: Array, up: Array
) -> Layers:
    """Shades every pixel once.

    Args:
        scene: The scene.
        mesh: Its faces.
        faces: Number of the face at each pixel, (H, W) uint16; a row of ``rows``.
        rows: What `Mesh.arrays` says of each face, after ground and sky, (N, 11).
        depth: Metres, (H, W).
        rays: Directions of the pixels in street axes, (H, W, 3).
        up: Tangent of their height above the horizon, (H, W).
    """
    plan, pose = scene.plan, scene.pose
    street = _street_coordinates(plan, pose, rays, depth)
    index = faces.astype(np.intp)
    _, thing, label, kind, facing = (np.ascontiguousarray(rows[:, i]) for i in range(5))
    material = np.take(kind.astype(np.uint8), index)
    surface = Surface(
        label=np.take(label.astype(np.uint8), index),
        material=material,
        facing=np.take(facing.astype(np.uint8), index),
        thing=np.take(thing.astype(np.int32), index),
        albedo=np.take(np.ascontiguousarray(rows[:, 5:8]), index, axis=0),
        glow=np.take(np.ascontiguousarray(rows[:, 8:11]), index, axis=0),
        street=street,
        depth=depth,
    )
    cover = shade_materials(surface, plan, scene.seed)
    ground = (material == Material.GROUND) | (material == Material.SHADOW)
    return Layers(
        albedo=surface.albedo,
        label=surface.label,
        depth=depth,
        facing=surface.facing,
        ground=ground,
        sky=material == Material.SKY,
        glow=surface.glow,
        always=material == Material.SIGNAL,
        street=street,
        cover=cover,
        reach=_reach(scene, street, ground),
        contact=np.where(material == Material.SHADOW, np.float32(0.45), np.float32(1.0)),
        beam=rays[..., 0],
        up=up,
        plan=plan,
        seen=_seen(mesh, surface.thing),
    )


def _street_coordinates(plan: Layout, pose: Pose, rays: Array, depth: Array) -> Array:
    local = rays * depth[..., None]
    s = local[..., 2] + np.float32(pose.s)
    center, slope = bend(plan, pose.s)
    u = local[..., 0] + np.float32(pose.u + center) + np.float32(slope) * local[..., 2] - centerline(plan, s)
    return np.stack([u, local[..., 1] + np.float32(pose.h), s])


def _reach(scene: Scene, street: Array, ground: NDArray[np.bool_]) -> Array:
    """A house of height h at lateral distance d shades the ground while cot(sun's height) > d / h."""
    plan, first = scene.plan, int(scene.pose.s // scene.plan.cell) - 1
    reach = np.full((2, *ground.shape), np.inf, np.float32)
    if plan.ceiling:
        return reach
    u, s = street[0][ground], street[2][ground]
    index = np.clip((s / plan.cell).astype(np.int32) - first, 0, 15)
    for row, side in enumerate((-1, 1)):
        heights = np.array([lot(plan, scene.seed, side, first + i)[1] for i in range(16)], np.float32)
        reach[row][ground] = (plan.front - side * u) / heights[index]
    return reach


def _seen(mesh: Mesh, thing: NDArray[np.int32], least: int = 40) -> Counter[str]:
    pixels = np.bincount(thing.ravel() + 1, minlength=len(mesh.kinds) + 1)[1:]
    return Counter(kind for kind, count in zip(mesh.kinds, pixels, strict=True) if count >= least)
