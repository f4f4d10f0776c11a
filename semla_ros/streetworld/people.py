"""Pedestrians."""

from __future__ import annotations

import math
from random import Random

from semla_ros.streetworld.mesh import BLACK, LABEL, Facing, Material, Mesh
from semla_ros.streetworld.shapes import disc, flat, shade, tint


def person(mesh: Mesh, rng: Random, u: float, s: float, phase: float) -> None:
    """Adds a walking pedestrian at (``u``, ``s``) in metres; ``phase`` in radians is the position of the legs."""
    tall = rng.uniform(1.5, 1.9)
    skin = tint(rng, (0.05, 0.09), (0.25, 0.6), (0.4, 0.95))
    coat, trousers = tint(rng, (0, 1), (0.1, 0.9), (0.15, 0.9)), tint(rng, (0.55, 0.7), (0.0, 0.5), (0.1, 0.5))
    hip, neck, wide, stride = 0.48 * tall, 0.84 * tall, 0.13 * tall, 0.14 * tall * math.sin(phase)
    mesh.add(flat(u - 0.35, u + 0.35, 0.0, s - 0.2, s + 0.5), LABEL["road"], BLACK, Material.SHADOW, Facing.UP)
    for sign_ in (-1, 1):
        foot = u + sign_ * (0.05 * tall + stride)
        leg = [(u + sign_ * 0.09 * tall, hip, s), (u, hip, s), (foot - 0.05, 0.0, s), (foot + 0.07, 0.0, s)]
        mesh.add(leg, LABEL["person"], trousers, facing=Facing.ROUND)
        arm = u + sign_ * wide
        hand = arm - sign_ * stride * 0.6 + sign_ * 0.05
        mesh.add(
            [(arm - 0.05, neck, s), (arm + 0.05, neck, s), (hand + 0.05, hip, s), (hand - 0.05, hip, s)],
            LABEL["person"],
            shade(coat, 0.8),
            facing=Facing.ROUND,
        )
    mesh.add(
        [(u - 0.8 * wide, hip * 0.92, s), (u + 0.8 * wide, hip * 0.92, s), (u + wide, neck, s), (u - wide, neck, s)],
        LABEL["person"],
        coat,
        facing=Facing.ROUND,
    )
    mesh.add(disc(u, 0.92 * tall, s, 0.08 * tall), LABEL["person"], skin, facing=Facing.ROUND)
