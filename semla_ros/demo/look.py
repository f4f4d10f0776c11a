"""Colours of the demo's figures."""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass

DOMAINS = {
    "clear_day": "#e6b23c",
    "clear_night": "#5560b0",
    "fog_day": "#93a7b3",
    "fog_night": "#66778c",
    "rain_day": "#4c8fd0",
    "rain_night": "#2f639c",
    "snow_day": "#8cd0e0",
    "snow_night": "#6d9bc9",
    "dusk": "#df7442",
    "forest": "#5f9e4e",
    "corridor": "#a88d70",
    "overexposed": "#efd396",
    "dirty_lens": "#8a745a",
}


@dataclass(frozen=True)
class Theme:
    """Colours of a figure as #rrggbb.

    Attributes:
        paper: Background.
        ink: Text and lines.
        faint: Less important text and lines.
        adapted: Curves of the adapting node.
        frozen: Curves of the frozen model.
    """

    paper: str
    ink: str
    faint: str
    adapted: str
    frozen: str


LIGHT = Theme(paper="#ffffff", ink="#1f2328", faint="#8b949e", adapted="#0b7a75", frozen="#c2571a")
DARK = Theme(paper="#15191e", ink="#e6e9ec", faint="#7d8590", adapted="#3cc9bf", frozen="#f0975a")


def domain_color(name: str) -> str:
    """The colour of a domain and of its adapter, as #rrggbb. Unknown names get a colour from their hash."""
    if name in DOMAINS:
        return DOMAINS[name]
    hue = zlib.crc32(name.encode()) / 2**32
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.6, 0.4))
    return f"#{red:02x}{green:02x}{blue:02x}"
