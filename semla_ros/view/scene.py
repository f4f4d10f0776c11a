"""One segmented image, as arrays and as the bytes that the page receives."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.images.classes import ClassInfo, Labels, class_table, unlabelled
from semla_ros.images.conversion import colorize, decode_file, overlay
from semla_ros.images.files import encoded

MAX_SIDE = 1280  # larger images are scaled down for the view, pixels
QUALITY = 80  # of the JPEG images


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown of one image.

    Attributes:
        stamp_ns: Stamp of the image, nanoseconds.
        rgb: Camera image, (H, W, 3) uint8; None if it is not known.
        labels: Class ids, (h, w) uint8 or uint16.
        confidence: round(255 p), (h, w) uint8; None if it is not known.
        classes: The classes of the ids.
        blended: Whether ``rgb`` already contains the colours of the classes.
    """

    stamp_ns: int
    rgb: NDArray[np.uint8] | None
    labels: Labels
    confidence: NDArray[np.uint8] | None
    classes: Sequence[ClassInfo]
    blended: bool = False

    @property
    def scene(self) -> Scene:
        """The scene itself, see `PackedScene.scene`."""
        return self

    @cached_property
    def packed(self) -> bytes:
        """The length of a JSON header (uint32, little-endian), the header, a JPEG, a PNG with the ids and a JPEG.

        The header holds the stamp, the lengths of the three images (0 for one that is not known) and the share of each
        class.
        """
        labels = fitted(self.labels, cv2.INTER_NEAREST)
        parts = (
            b"" if self.rgb is None else encoded(fitted(self.rgb, cv2.INTER_AREA), ".jpg", QUALITY),
            encoded(labels if labels.dtype == np.uint8 else _in_two_channels(labels)),
            b"" if self.confidence is None else encoded(fitted(self.confidence, cv2.INTER_NEAREST), ".jpg", QUALITY),
        )
        header = {
            "stamp_ns": str(self.stamp_ns),  # more digits than a number in JavaScript holds
            "time": 1e-9 * self.stamp_ns,
            "lengths": [len(part) for part in parts],
            "unlabelled": unlabelled(self.labels),
            "shares": shares(labels, len(self.classes)),
            "blended": self.blended,
        }
        text = json.dumps(header).encode()
        return b"".join((struct.pack("<I", len(text)), text, *parts))

    @property
    def overlay(self) -> NDArray[np.uint8]:
        """The image with the colours of the classes, (h, w, 3) uint8."""
        if self.rgb is None or self.blended:
            return colorize(self.labels, self.classes) if self.rgb is None else self.rgb
        height, width = self.labels.shape
        rgb = np.asarray(cv2.resize(self.rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return overlay(rgb, self.labels, self.classes)


@dataclass(frozen=True, eq=False)
class PackedScene:
    """A scene as the bytes of `Scene.packed`, with its classes."""

    packed: bytes
    classes: Sequence[ClassInfo]

    @cached_property
    def header(self) -> dict[str, Any]:
        """The JSON header."""
        (length,) = struct.unpack_from("<I", self.packed)
        header: dict[str, Any] = json.loads(self.packed[4 : 4 + length])
        return header

    @property
    def stamp_ns(self) -> int:
        """Stamp of the image, nanoseconds."""
        return int(self.header["stamp_ns"])

    @cached_property
    def scene(self) -> Scene:
        """The arrays; colours and confidences as precise as JPEG keeps them."""
        (length,) = struct.unpack_from("<I", self.packed)
        ends = np.cumsum([4 + length, *self.header["lengths"]]).tolist()
        image, ids, confidence = (self.packed[a:b] for a, b in pairwise(ends))
        labels = np.asarray(cv2.imdecode(np.frombuffer(ids, np.uint8), cv2.IMREAD_UNCHANGED))
        if labels.ndim == 3:
            labels = labels[..., 2].astype(np.uint16) + 256 * labels[..., 1].astype(np.uint16)  # OpenCV: B, G, R
        return Scene(
            self.stamp_ns,
            decode_file(image) if image else None,
            labels,
            decode_file(confidence)[..., 0] if confidence else None,
            self.classes,
            self.header["blended"],
        )


AnyScene = Scene | PackedScene


def shares(labels: Labels, count: int) -> list[float]:
    """Share of the image per class, 0 to 1, rounded to four digits; unlabelled pixels belong to none."""
    found = np.bincount(labels.reshape(-1), minlength=count)[:count] / labels.size
    return [round(float(share), 4) for share in found]


def anonymous(labels: Labels) -> tuple[ClassInfo, ...]:
    """Classes for ids whose names are not known."""
    named = labels[labels != unlabelled(labels)]
    return class_table([f"class {i}" for i in range(int(named.max()) + 1 if named.size else 1)])


def fitted(pixels: NDArray[Any], interpolation: int) -> NDArray[Any]:
    """An image whose longer side is at most `MAX_SIDE` pixels."""
    height, width = pixels.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation))


def _in_two_channels(labels: Labels) -> NDArray[np.uint8]:
    """Ids as RGB: the lower byte is red and the upper byte is green."""
    low, high = labels & 255, labels >> 8
    return np.dstack([low, high, np.zeros_like(low)]).astype(np.uint8)
