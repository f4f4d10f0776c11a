"""From a scene to layers: paint the faces' numbers far to near, then shade every pixel once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.materials import Surface, shade_materials
from semla_ros.streetworld.mesh import LABEL, Facing, Material, Mesh
from semla_ros.streetworld.places import Layout, bend, lot
from semla_ros.streetworld.scene import Scene

Array = NDArray[np.float32]
NEAR_M = 0.4
FAR_M = 1000.0
SHIFT = 4
GROUND_FACE, SKY_FACE = 0, 1
FIXED_ROWS = np.array(
    [
        [0, -1, LABEL["road"], Material.GROUND, Facing.UP, 0, 0, 0, 0, 0, 0],
        [0, -1, LABEL["sky"], Material.SKY, Facing.ROUND, 0, 0, 0, 0, 0, 0],
    ],
    np.float32,
)


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


def render(scene: Scene, camera: Camera) -> Layers:
    """Renders the layers of a scene."""
    mesh, rotation = scene.mesh(), scene.pose.rotation()
    corners, counts, rows = mesh.arrays()
    points = camera_points(corners, scene.plan, scene.pose) @ rotation.T
    rays = camera.rays()
    faces, up = _background(rays, rotation)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    _paint(faces, camera, points, starts, counts, np.argsort(rows[:, 0], kind="stable"))
    rows = np.concatenate([FIXED_ROWS, rows])
    depth = _depth(faces, rays, rotation, points, starts, counts, scene.pose.h)
    return _shade(scene, mesh, faces, rows, depth, rays @ rotation, up)


def camera_points(corners: Array, plan: Layout, pose: Pose) -> Array:
    """Street coordinates (N, 3) to right, up, forward of the camera, before it is turned."""
    s = corners[:, 2]
    center, slope = bend(plan, pose.s)
    x = corners[:, 0] + centerline(plan, s) - center - slope * (s - pose.s) - pose.u
    return np.stack([x, corners[:, 1] - pose.h, s - pose.s], axis=1).astype(np.float32)


def centerline(plan: Layout, s: Array) -> Array:
    """Lateral position of the road's centre line at ``s``, any shape."""
    total = np.zeros_like(s)
    for amplitude, wave, phase in plan.bends:
        total += np.float32(amplitude) * np.sin(s / np.float32(wave) + np.float32(phase))
    return total


def _background(rays: Array, rotation: Array) -> tuple[NDArray[np.uint16], Array]:
    up = rays @ rotation[:, 1]
    return np.where(up < -2e-3, GROUND_FACE, SKY_FACE).astype(np.uint16), up


def _paint(
    faces: NDArray[np.uint16],
    camera: Camera,
    points: Array,
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    order: NDArray[np.int64],
) -> None:
    ahead = points[:, 2] > NEAR_M
    inside = np.add.reduceat(ahead, starts)
    pixels = _fixed_point(camera, np.maximum(points, [-np.inf, -np.inf, NEAR_M]))
    for face in order:
        start, count = starts[face], counts[face]
        if inside[face] == 0:
            continue
        outline = pixels[start : start + count]
        if inside[face] < count:
            outline = _fixed_point(camera, _clipped(points[start : start + count]))
        cv2.fillPoly(faces, [outline], int(face) + 2, shift=SHIFT)


def _fixed_point(camera: Camera, points: Array) -> NDArray[np.int32]:
    pixels = camera.project(points.astype(np.float32))
    return np.round(np.clip(pixels, -8000, 8000) * (1 << SHIFT)).astype(np.int32)


def _clipped(points: Array) -> Array:
    """The part of a polygon before the near plane."""
    kept: list[Array] = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        if a[2] > NEAR_M:
            kept.append(a)
        if (a[2] > NEAR_M) != (b[2] > NEAR_M):
            kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
    return np.array(kept, np.float32)


def _depth(
    faces: NDArray[np.uint16],
    rays: Array,
    rotation: Array,
    points: Array,
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
    eye: float,
) -> Array:
    """Every face is a plane n.p = d, so a ray r meets it at depth d / n.r."""
    p0, p1, p2 = points[starts], points[starts + counts // 3], points[starts + 2 * counts // 3]
    normal = np.cross(p1 - p0, p2 - p0)
    offset = np.einsum("ij,ij->i", normal, p0)
    nearest, farthest = np.minimum.reduceat(points[:, 2], starts), np.maximum.reduceat(points[:, 2], starts)
    planes = np.concatenate([normal, offset[:, None]], axis=1)
    planes = np.concatenate([[[*rotation[:, 1], -eye], [0, 0, 1, FAR_M]], planes]).astype(np.float32)
    near = np.concatenate([[NEAR_M, FAR_M], np.maximum(nearest, NEAR_M)]).astype(np.float32)
    far = np.concatenate([[FAR_M, FAR_M], np.maximum(farthest, NEAR_M)]).astype(np.float32)
    plane = planes[faces]
    along = plane[..., 0] * rays[..., 0] + plane[..., 1] * rays[..., 1] + plane[..., 2]
    along[np.abs(along) < 1e-9] = 1e-9
    depth: Array = np.clip(plane[..., 3] / along, near[faces], far[faces])
    return depth


def _shade(
    scene: Scene, mesh: Mesh, faces: NDArray[np.uint16], rows: Array, depth: Array, rays: Array, up: Array
) -> Layers:
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
        albedo=surface.albedo, label=surface.label, depth=depth, facing=surface.facing, ground=ground,
        sky=material == Material.SKY, glow=surface.glow, always=material == Material.SIGNAL, street=street,
        cover=cover, reach=_reach(scene, street, ground),
        contact=np.where(material == Material.SHADOW, np.float32(0.45), np.float32(1.0)),
        beam=rays[..., 0], up=up, plan=plan, seen=_seen(mesh, surface.thing),
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
