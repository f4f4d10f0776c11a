"""How Foxglove's messages are made from scenes and domain states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from foxglove import StatusLevel
from foxglove.messages import (
    Color,
    CompressedImage,
    ImageAnnotations,
    LogLevel,
    Point2,
    RawImage,
    TextAnnotation,
    Timestamp,
)  # fmt: skip
from numpy.typing import NDArray

from semla_ros.images.classes import class_names
from semla_ros.images.files import encoded
from semla_ros.topics.domain import DomainSample
from semla_ros.view.scene import QUALITY, Scene

FRAME = "camera"
ENCODINGS = {"uint8": "mono8", "uint16": "mono16"}
STATUS_LEVELS = {"info": StatusLevel.Info, "warning": StatusLevel.Warning, "error": StatusLevel.Error}
LEAST_SHARE = 0.004  # of the image; smaller regions get no name
FONT_SHARE = 0.028  # of the image's height


def timestamp(stamp_ns: int) -> Timestamp:
    """A stamp in nanoseconds as Foxglove's."""
    return Timestamp(*divmod(stamp_ns, 1_000_000_000))


def jpeg(rgb: NDArray[np.uint8], stamp_ns: int) -> CompressedImage:
    """An image, (H, W, 3) uint8 RGB."""
    data = encoded(rgb, ".jpg", QUALITY)
    return CompressedImage(timestamp=timestamp(stamp_ns), frame_id=FRAME, data=data, format="jpeg")


def raw(pixels: NDArray[Any], stamp_ns: int) -> RawImage:
    """Class ids or confidences, (H, W) uint8 or uint16, without loss."""
    packed = np.ascontiguousarray(pixels)
    return RawImage(
        timestamp=timestamp(stamp_ns), frame_id=FRAME, width=packed.shape[1], height=packed.shape[0],
        encoding=ENCODINGS[packed.dtype.name], step=packed.strides[0], data=packed.tobytes(),
    )  # fmt: skip


def names(scene: Scene) -> ImageAnnotations:
    """The name of each class in the middle of its largest region, and its share of the image."""
    stamp, size = timestamp(scene.stamp_ns), FONT_SHARE * scene.labels.shape[0]
    texts = [
        TextAnnotation(
            timestamp=stamp, position=Point2(x=x, y=y), text=f"{name} {100 * share:.0f} %", font_size=size,
            text_color=Color(r=1, g=1, b=1, a=1), background_color=Color(r=r / 255, g=g / 255, b=b / 255, a=0.8),
        )
        for name, share, (x, y), (r, g, b) in regions(scene)
    ]  # fmt: skip
    return ImageAnnotations(timestamp=stamp, texts=texts)


def regions(scene: Scene) -> Iterator[tuple[str, float, tuple[float, float], tuple[int, int, int]]]:
    """Yields (name, share of the image, centre of the largest region in pixels, colour) of each class in the image."""
    for info, name in zip(scene.classes, class_names(scene.classes), strict=True):
        mask = (scene.labels == info.id).astype(np.uint8)
        share = float(mask.mean())
        if share < LEAST_SHARE:
            continue
        # The point that is farthest from the region's edge lies inside it, unlike its centroid.
        depth = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        yield name, share, (float(x - 1), float(y - 1)), info.color


def domain(sample: DomainSample) -> dict[str, Any]:
    """The domain state as numbers for plots."""
    values = sample.as_json()
    return {
        "support": values["support"],
        "distance": values["distance"],
        "upper_threshold": values["upper"],
        "lower_threshold": values["lower"],
        "swaps": sample.swaps,
        "weights": {name: weight for name, weight, _ in sample.adapters},
        "out_of_distribution": sample.out_of_distribution,
        "frozen": sample.frozen,
        "error": sample.error,
    }


def events(before: DomainSample | None, now: DomainSample) -> Iterator[tuple[LogLevel, str]]:
    """Yields (level, text) of what has happened between two states, for the log."""
    if now.swaps != (before.swaps if before else 0) and now.adapters:
        mixture = ", ".join(f"{name} {weight:.2f}" for name, weight, _ in now.adapters)
        yield LogLevel.Info, f"swap {now.swaps}: {mixture}"
    if before is not None and now.out_of_distribution != before.out_of_distribution:
        if now.out_of_distribution:
            yield LogLevel.Warning, "out of distribution for every adapter"
        else:
            yield LogLevel.Info, "no longer out of distribution"
    if before is not None and now.frozen != before.frozen:
        yield LogLevel.Info, "mixture frozen" if now.frozen else "mixture follows the domain"
    if now.error and (before is None or now.error != before.error):
        yield LogLevel.Error, f"adaptation failed: {now.error}"
