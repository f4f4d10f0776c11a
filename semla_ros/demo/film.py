"""The drive as a video: camera, adapting node and frozen model side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from matplotlib.font_manager import findfont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semla_ros.demo.look import DARK, domain_color
from semla_ros.demo.scores import LabelledImage, Pair
from semla_ros.images.classes import ClassInfo
from semla_ros.images.conversion import overlay

RgbImage = NDArray[np.uint8]
HEAD, FOOT, MARGIN = 28, 32, 10
OPACITY = 0.6
CODEC = {"crf": "28", "preset": "medium"}


class Film:
    """Writes an H.264 video. Use it as a context manager.

    Args:
        path: File to write, .mp4.
        classes: Classes of the labels.
        rate_hz: Images per second.
    """

    def __init__(self, path: Path, classes: Sequence[ClassInfo], rate_hz: float) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._classes, self._rate = classes, Fraction(rate_hz).limit_denominator(1000)
        self._stream: Any = None
        self._held: RgbImage | None = None

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def add(self, item: LabelledImage, pair: Pair, domain: str, weights: Mapping[str, float]) -> None:
        """Adds an image.

        Args:
            item: Image and labels. If the node dropped the image, the previous mask is shown.
            pair: mIoU of this image.
            domain: Name of the stretch.
            weights: Weights of the node's active adapters by name.
        """
        rgb = item.frame.rgb
        if item.adapted is not None:
            self._held = overlay(rgb, item.adapted, self._classes, OPACITY)
        adapted = rgb if self._held is None else self._held
        panels = [rgb, adapted, overlay(rgb, item.frozen, self._classes, OPACITY)]
        heads = [domain.replace("_", " "), f"adapted · {_percent(pair.adapted)}", f"frozen · {_percent(pair.frozen)}"]
        self._encode(compose(panels, heads, weights))

    def _encode(self, image: RgbImage) -> None:
        if self._stream is None:
            height, width = image.shape[:2]
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=CODEC)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))


def compose(panels: Sequence[RgbImage], heads: Sequence[str], weights: Mapping[str, float]) -> RgbImage:
    """Composes one image of the video.

    Args:
        panels: Images of one size, (H, W, 3) uint8 RGB, shown side by side.
        heads: Caption of each panel.
        weights: Weights of the active adapters by name, shown as a bar below the panels.

    Returns:
        Image, (h, w, 3) uint8 RGB, with even sides as H.264 requires.
    """
    height, width = panels[0].shape[:2]
    size = (_even(width * len(panels)), _even(HEAD + height + FOOT))
    canvas = Image.new("RGB", size, DARK.paper)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(findfont("DejaVu Sans"), 14)
    for i, (panel, head) in enumerate(zip(panels, heads, strict=True)):
        canvas.paste(Image.fromarray(panel), (i * width, HEAD))
        draw.text((i * width + MARGIN, HEAD // 2), head, DARK.ink, font, anchor="lm")
    _bar(draw, weights, font, size)
    return np.asarray(canvas)


def _bar(draw: ImageDraw.ImageDraw, weights: Mapping[str, float], font: Any, size: tuple[int, int]) -> None:
    """Draws the weights as a bar along the bottom. A part has the name of its adapter if there is room."""
    width, height = size
    left, top = float(MARGIN), height - FOOT + 5
    for name, weight in weights.items():
        right = left + weight * (width - 2 * MARGIN)
        draw.rectangle((left, top, max(left, right - 1), height - 6), fill=domain_color(name))
        text = f"{name.replace('_', ' ')} {weight:.2f}"
        if draw.textlength(text, font) < right - left - 8:
            draw.text((left + 5, (top + height - 6) / 2), text, "#101418", font, anchor="lm")
        left = right
    if not weights:
        draw.text((left, (top + height - 6) / 2), "no adapter", DARK.faint, font, anchor="lm")


def _percent(miou: float) -> str:
    return f"mIoU {miou:.0f} %" if math.isfinite(miou) else "dropped, previous mask"


def _even(pixels: int) -> int:
    return pixels + pixels % 2
