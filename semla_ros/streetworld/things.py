"""What stands and moves in the street: each function adds one thing to a mesh.

Sizes are metres; ``side`` is +1 on the right of the street and -1 on the left.
"""

from __future__ import annotations

import colorsys
import math
from random import Random

from semla_ros.streetworld.mesh import BLACK, LABEL, Color, Corner, Facing, Material, Mesh

ROAD, BUILDING, WALL, FENCE = LABEL["road"], LABEL["building"], LABEL["wall"], LABEL["fence"]
POLE, LIGHT, SIGN = LABEL["pole"], LABEL["traffic light"], LABEL["traffic sign"]
VEGETATION, PERSON, CAR = LABEL["vegetation"], LABEL["person"], LABEL["car"]


def tint(rng: Random, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Color:
    """A random colour of linear light, from HSV ranges as one sees them on a screen."""
    red, green, blue = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return red * red, green * green, blue * blue


def shade(color: Color, gain: float) -> Color:
    """The colour made darker or brighter."""
    return color[0] * gain, color[1] * gain, color[2] * gain


def inward(side: int) -> Facing:
    """The facing of a face beside the road that looks at the road."""
    return Facing.LEFT if side > 0 else Facing.RIGHT


def upright(u0: float, u1: float, h0: float, h1: float, s: float) -> list[Corner]:
    """A rectangle across the street."""
    return [(u0, h0, s), (u1, h0, s), (u1, h1, s), (u0, h1, s)]


def along(u: float, h0: float, h1: float, s0: float, s1: float) -> list[Corner]:
    """A rectangle along the street."""
    return [(u, h0, s0), (u, h0, s1), (u, h1, s1), (u, h1, s0)]


def flat(u0: float, u1: float, h: float, s0: float, s1: float) -> list[Corner]:
    """A horizontal rectangle."""
    return [(u0, h, s0), (u1, h, s0), (u1, h, s1), (u0, h, s1)]


def disc(u: float, h: float, s: float, radius: float, corners: int = 8) -> list[Corner]:
    """A regular polygon across the street."""
    turns = [2 * math.pi * (i + 0.5) / corners for i in range(corners)]
    return [(u + radius * math.sin(t), h + radius * math.cos(t), s) for t in turns]


def blob(rng: Random, u: float, h: float, s: float, width: float, height: float, corners: int = 13) -> list[Corner]:
    """An irregular rounded outline across the street."""
    outline = []
    for i in range(corners):
        turn, reach = 2 * math.pi * i / corners, rng.uniform(0.75, 1.1)
        outline.append((u + width * reach * math.cos(turn), max(h + height * reach * math.sin(turn), 0.0), s))
    return outline


def building(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float, height: float) -> None:
    """A house whose facade stands at distance ``u`` from the centre line."""
    color = tint(rng, (0.0, 0.17), (0.05, 0.5), (0.4, 0.92)) if rng.random() < 0.8 else tint(rng, (0, 1), (0, 0.3), (0.35, 0.8))
    depth, near, far = 11.0, side * u, side * (u + 11.0)
    mesh.add(upright(near, far, 0, height, s0), BUILDING, shade(color, 0.9), Material.FACADE)
    mesh.add(along(near, 0, height, s0, s1), BUILDING, color, Material.FACADE, inward(side))
    roof = tint(rng, (0.0, 0.08), (0.1, 0.6), (0.25, 0.55))
    if rng.random() < 0.6:
        top, ridge = height + rng.uniform(1.5, 4.0), side * (u + depth / 2)
        mesh.add([(near, height, s0), (far, height, s0), (ridge, top, s0)], BUILDING, shade(color, 0.85))
        mesh.add(
            [(near, height, s0), (near, height, s1), (ridge, top, s1), (ridge, top, s0)], BUILDING, roof, facing=Facing.UP
        )
    else:
        mesh.add(along(near, height, height + 0.5, s0, s1), BUILDING, roof, facing=inward(side))


def barrier(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float) -> None:
    """A brick or rendered wall along the pavement."""
    height = rng.uniform(1.5, 3.0)
    color = tint(rng, (0.0, 0.12), (0.05, 0.55), (0.35, 0.75))
    mesh.add(along(side * u, 0, height, s0, s1), WALL, color, Material.BRICK, inward(side))
    mesh.add(flat(side * u, side * (u + 0.4), height, s0, s1), WALL, shade(color, 1.2), facing=Facing.UP)
    mesh.add(upright(side * u, side * (u + 0.4), 0, height, s0), WALL, color, Material.BRICK)


def fence(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float) -> None:
    """A fence of slats, or a low guard rail."""
    height = rng.uniform(1.0, 1.8)
    color = rng.choice([tint(rng, (0.05, 0.12), (0.3, 0.6), (0.4, 0.7)), tint(rng, (0, 1), (0, 0.08), (0.55, 0.95)), tint(rng, (0.25, 0.4), (0.3, 0.6), (0.2, 0.45))])
    mesh.add(along(side * u, 0, height, s0, s1), FENCE, color, Material.SLATS, inward(side))


def hedge(mesh: Mesh, rng: Random, side: int, u: float, s0: float, s1: float, height: float) -> None:
    """A hedge with a ragged top."""
    steps = 7
    top = [(side * u, height * rng.uniform(0.85, 1.1), s1 + (s0 - s1) * i / steps) for i in range(steps + 1)]
    mesh.add([(side * u, 0, s0), (side * u, 0, s1), *top], VEGETATION, leaves(rng), Material.FOLIAGE, Facing.ROUND)


def leaves(rng: Random) -> Color:
    """A colour of foliage."""
    return tint(rng, (0.19, 0.36), (0.35, 0.75), (0.3, 0.58))


def tree(mesh: Mesh, rng: Random, u: float, s: float, size: float, conifer: bool = False) -> None:
    """A tree of this height: trunk and crown are vegetation, as in Cityscapes."""
    color, trunk = leaves(rng), tint(rng, (0.05, 0.1), (0.2, 0.5), (0.2, 0.4))
    girth = 0.025 * size * rng.uniform(0.8, 1.3)
    mesh.add(upright(u - girth, u + girth, 0, 0.6 * size, s), VEGETATION, trunk, facing=Facing.ROUND)
    if conifer:
        for i in range(4):
            base, reach = size * (0.15 + 0.2 * i), size * (0.24 - 0.05 * i)
            mesh.add([(u - reach, base, s), (u + reach, base, s), (u, base + 0.35 * size, s)], VEGETATION, shade(color, 0.7), Material.FOLIAGE, Facing.ROUND)
        return
    for _ in range(3):
        du, dh = rng.uniform(-0.12, 0.12) * size, rng.uniform(-0.1, 0.12) * size
        outline = blob(rng, u + du, 0.68 * size + dh, s, rng.uniform(0.2, 0.3) * size, rng.uniform(0.2, 0.28) * size)
        mesh.add(outline, VEGETATION, shade(color, rng.uniform(0.8, 1.2)), Material.FOLIAGE, Facing.ROUND)


def bush(mesh: Mesh, rng: Random, u: float, s: float, size: float) -> None:
    """A bush of about this width."""
    mesh.add(blob(rng, u, 0.3 * size, s, 0.6 * size, 0.5 * size, 11), VEGETATION, leaves(rng), Material.FOLIAGE, Facing.ROUND)


def post(mesh: Mesh, rng: Random, u: float, s: float, height: float, radius: float = 0.07, color: Color | None = None) -> None:
    """A plain pole."""
    grey = color or tint(rng, (0, 1), (0, 0.1), (0.25, 0.75))
    mesh.add(upright(u - radius, u + radius, 0, height, s), POLE, grey, facing=Facing.ROUND)


def lamp_post(mesh: Mesh, rng: Random, side: int, u: float, s: float, color: Color) -> None:
    """A street lamp whose arm reaches over the road."""
    height = 6.5
    post(mesh, rng, u, s, height, 0.09, color)
    mesh.add(upright(u, u - side * 1.6, height - 0.12, height, s), POLE, color)
    head = upright(u - side * 1.2, u - side * 2.0, height - 0.28, height - 0.1, s)
    mesh.add(head, POLE, (0.7, 0.7, 0.65), Material.LAMP, glow=(4.0, 3.2, 1.9))


SIGN_COLORS: tuple[tuple[Color, Color], ...] = (
    ((0.7, 0.02, 0.03), (0.9, 0.9, 0.9)),
    ((0.02, 0.12, 0.6), (0.85, 0.85, 0.9)),
    ((0.85, 0.6, 0.02), (0.02, 0.02, 0.02)),
    ((0.02, 0.3, 0.12), (0.85, 0.9, 0.85)),
)


def sign(mesh: Mesh, rng: Random, u: float, s: float) -> None:
    """A traffic sign on its pole: disc, triangle, square or board."""
    height, radius = rng.uniform(2.1, 2.8), rng.uniform(0.38, 0.5)
    post(mesh, rng, u, s, height, 0.05)
    rim, face = rng.choice(SIGN_COLORS)
    shape = rng.choice([3, 4, 8, 8])
    for size, color in ((radius, rim), (0.68 * radius, face)):
        corners = upright(u - size, u + size, height - size, height + size, s) if shape == 4 else disc(u, height, s, size, shape)
        if shape == 3:
            corners = [(u - size, height - 0.8 * size, s), (u + size, height - 0.8 * size, s), (u, height + size, s)]
        mesh.add(corners, SIGN, color)
    if rng.random() < 0.6:
        mesh.add(upright(u - 0.12, u + 0.12, height - 0.2 * radius, height + 0.2 * radius, s), SIGN, rim)


SIGNALS: tuple[Color, ...] = ((3.0, 0.08, 0.05), (2.6, 1.3, 0.05), (0.1, 2.6, 0.6))


def traffic_light(mesh: Mesh, rng: Random, side: int, u: float, s: float, lit: int) -> None:
    """A traffic light; ``lit`` 0 red, 1 amber, 2 green. On wide roads a second head hangs over the lane."""
    post(mesh, rng, u, s, 3.6, 0.08, (0.12, 0.12, 0.12))
    heads = [(u, 3.2)]
    if rng.random() < 0.5:
        reach = u - side * 3.0
        mesh.add(upright(u, reach, 5.0, 5.15, s), POLE, (0.12, 0.12, 0.12))
        mesh.add(upright(u - 0.08, u + 0.08, 3.6, 5.15, s), POLE, (0.12, 0.12, 0.12))
        heads.append((reach, 4.8))
    for x, h in heads:
        mesh.add(upright(x - 0.24, x + 0.24, h - 0.65, h + 0.65, s), LIGHT, (0.012, 0.014, 0.012))
        for i, color in enumerate(SIGNALS):
            glow = color if i == lit else BLACK
            mesh.add(disc(x, h + 0.4 - 0.4 * i, s, 0.17), LIGHT, shade(color, 0.05), Material.SIGNAL, glow=glow)


def person(mesh: Mesh, rng: Random, u: float, s: float, phase: float) -> None:
    """A pedestrian in mid-stride; ``phase`` in radians moves the legs."""
    tall = rng.uniform(1.5, 1.9)
    skin = tint(rng, (0.05, 0.09), (0.25, 0.6), (0.4, 0.95))
    coat, trousers = tint(rng, (0, 1), (0.1, 0.9), (0.15, 0.9)), tint(rng, (0.55, 0.7), (0.0, 0.5), (0.1, 0.5))
    hip, neck, wide, stride = 0.48 * tall, 0.84 * tall, 0.13 * tall, 0.14 * tall * math.sin(phase)
    mesh.add(flat(u - 0.35, u + 0.35, 0.0, s - 0.2, s + 0.5), ROAD, BLACK, Material.SHADOW, Facing.UP)
    for sign_ in (-1, 1):
        foot = u + sign_ * (0.05 * tall + stride)
        leg = [(u + sign_ * 0.09 * tall, hip, s), (u, hip, s), (foot - 0.05, 0.0, s), (foot + 0.07, 0.0, s)]
        mesh.add(leg, PERSON, trousers, facing=Facing.ROUND)
        arm = u + sign_ * wide
        hand = arm - sign_ * stride * 0.6 + sign_ * 0.05
        mesh.add([(arm - 0.05, neck, s), (arm + 0.05, neck, s), (hand + 0.05, hip, s), (hand - 0.05, hip, s)], PERSON, shade(coat, 0.8), facing=Facing.ROUND)
    mesh.add([(u - 0.8 * wide, hip * 0.92, s), (u + 0.8 * wide, hip * 0.92, s), (u + wide, neck, s), (u - wide, neck, s)], PERSON, coat, facing=Facing.ROUND)
    mesh.add(disc(u, 0.92 * tall, s, 0.08 * tall), PERSON, skin, facing=Facing.ROUND)
