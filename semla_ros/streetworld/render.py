"""Renders a scene to layers: paints the indices of the faces from far to near, then shades every pixel once."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.streetworld.camera import Camera, Pose
from semla_ros.streetworld.layers import Layers, shade
from semla_ros.streetworld.layout import StreetLayout, bend, centerline
from semla_ros.streetworld.mesh import LABEL, Facing, Material
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


def render(scene: Scene, camera: Camera) -> Layers:
    """Renders the layers of a scene.

    Args:
        scene: Place, time and camera pose.
        camera: Intrinsics and image size.
    """
    mesh, rotation = scene.mesh(), scene.pose.rotation()
    corners, counts, rows = mesh.arrays()
    points = camera_points(corners, scene.layout, scene.pose) @ rotation.T
    rays = camera.rays()
    faces, up = _background(rays, rotation)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    _paint(faces, camera, points, starts, counts, np.argsort(rows[:, 0], kind="stable"))
    rows = np.concatenate([FIXED_ROWS, rows])
    depth = _depth(faces, rays, rotation, points, starts, counts, scene.pose.h)
    return shade(scene, mesh, faces, rows, depth, rays @ rotation, up)


def camera_points(corners: Array, layout: StreetLayout, pose: Pose) -> Array:
    """Converts street coordinates (N, 3) to right, up, forward of a camera at ``pose`` without its rotation, (N, 3)."""
    s = corners[:, 2]
    center, slope = bend(layout, pose.s)
    x = corners[:, 0] + centerline(layout, s) - center - slope * (s - pose.s) - pose.u
    return np.stack([x, corners[:, 1] - pose.h, s - pose.s], axis=1).astype(np.float32)


def _background(rays: Array, rotation: Array) -> tuple[NDArray[np.uint16], Array]:
    """Face indices of ground and sky, (H, W), and the tangent of each ray above the horizon, (H, W)."""
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
    """Paints the index of each face into ``faces``, in the given order; clips faces at the near plane."""
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
    """Pixel coordinates as fixed-point numbers with `SHIFT` fractional bits, as cv2.fillPoly takes them."""
    pixels = camera.project(points.astype(np.float32))
    return np.round(np.clip(pixels, -8000, 8000) * (1 << SHIFT)).astype(np.int32)


def _clipped(points: Array) -> Array:
    """The part of a polygon beyond the near plane, by Sutherland-Hodgman clipping."""
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
    camera_height: float,
) -> Array:
    """Depth of every pixel in metres, (H, W): the ray r meets the plane n.p = d of a face at depth d / n.r."""
    p0, p1, p2 = points[starts], points[starts + counts // 3], points[starts + 2 * counts // 3]
    normal = np.cross(p1 - p0, p2 - p0)
    offset = np.einsum("ij,ij->i", normal, p0)
    nearest, farthest = np.minimum.reduceat(points[:, 2], starts), np.maximum.reduceat(points[:, 2], starts)
    planes = np.concatenate([normal, offset[:, None]], axis=1)
    planes = np.concatenate([[[*rotation[:, 1], -camera_height], [0, 0, 1, FAR_M]], planes]).astype(np.float32)
    near = np.concatenate([[NEAR_M, FAR_M], np.maximum(nearest, NEAR_M)]).astype(np.float32)
    far = np.concatenate([[FAR_M, FAR_M], np.maximum(farthest, NEAR_M)]).astype(np.float32)
    plane = planes[faces]
    along = plane[..., 0] * rays[..., 0] + plane[..., 1] * rays[..., 1] + plane[..., 2]
    along[np.abs(along) < 1e-9] = 1e-9
    depth: Array = np.clip(plane[..., 3] / along, near[faces], far[faces])
    return depth
