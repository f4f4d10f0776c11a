"""Outlines and colours of objects. ``u``, ``h``, ``s`` are street coordinates in metres, see `mesh.Mesh`."""

from __future__ import annotations

import colorsys
import math
from random import Random

from semla_ros.streetworld.mesh import Color, Corner, Facing


def tint(rng: Random, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A random colour, linear RGB. The ranges are (low, high) of hue, saturation and value in display space, 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return red * red, green * green, blue * blue


def shade(color: Color, gain: float) -> Color:
    """The colour multiplied by ``gain``."""
    return color[0] * gain, color[1] * gain, color[2] * gain


def inward(side: int) -> Facing:
    """Direction towards the road of a face at the right (``side`` +1) or left (-1) of the road."""
    return Facing.LEFT if side > 0 else Facing.RIGHT


def upright(u0: float, u1: float, h0: float, h1: float, s: float) -> list[Corner]:
    """A vertical rectangle across the street."""
    return [(u0, h0, s), (u1, h0, s), (u1, h1, s), (u0, h1, s)]


def along(u: float, h0: float, h1: float, s0: float, s1: float) -> list[Corner]:
    """A vertical rectangle along the street."""
    return [(u, h0, s0), (u, h0, s1), (u, h1, s1), (u, h1, s0)]


def flat(u0: float, u1: float, h: float, s0: float, s1: float) -> list[Corner]:
    """A horizontal rectangle."""
    return [(u0, h, s0), (u1, h, s0), (u1, h, s1), (u0, h, s1)]


def disc(u: float, h: float, s: float, radius: float, corners: int = 8) -> list[Corner]:
    """A regular polygon in a vertical plane across the street."""
    turns = [2 * math.pi * (i + 0.5) / corners for i in range(corners)]
    return [(u + radius * math.sin(t), h + radius * math.cos(t), s) for t in turns]


def blob(rng: Random, u: float, h: float, s: float, width: float, height: float, corners: int = 13) -> list[Corner]:
    """An irregular rounded outline in a vertical plane across the street."""
    outline = []
    for i in range(corners):
        turn, reach = 2 * math.pi * i / corners, rng.uniform(0.75, 1.1)
        outline.append((u + width * reach * math.cos(turn), max(h + height * reach * math.sin(turn), 0.0), s))
    return outline
