"""Panoptic ground truth of rendered samples, in the panoptic format of COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.images import panoptic
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.images.files import read_rgb, write_whole
from semla_ros.progress import ProgressBar
from semla_ros.streetworld import CLASSES, THINGS

ANNOTATIONS = "panoptic.json"
CATEGORIES = [
    {
        "id": number, "name": name, "supercategory": name, "isthing": int(name in THINGS),
        "color": list(CITYSCAPES_COLORS[name]),
    }
    for number, name in enumerate(CLASSES, 1)
]  # fmt: skip


def segment_ids(labels: NDArray[np.uint8], instances: NDArray[np.uint16]) -> NDArray[np.int32]:
    """Numbers the segments of an image: category * 1000 + instance. Categories are class ids + 1, as 0 is no segment.

    Pixels of things without an instance are a crowd: one segment of several objects, which evaluations leave out.

    Args:
        labels: Class ids, (H, W) uint8.
        instances: Instances of things, (H, W) uint16; 0 elsewhere.

    Returns:
        Segment ids, (H, W) int32.
    """
    return panoptic.pack(labels.astype(np.int32) + 1, instances)


def write_annotations(root: Path, files: Sequence[tuple[Path, Path]]) -> None:
    """Writes ``root/panoptic.json``, which describes the segments of every image. It is made from the PNG files alone.

    Args:
        root: Folder of the data set.
        files: Image file and PNG file of the segment ids of every sample.

    Raises:
        ImageError: A PNG file is damaged, or the annotations cannot be written.
    """
    images, annotations = [], []
    for number, (image, png) in enumerate(ProgressBar(files, desc=ANNOTATIONS)):
        ids = panoptic.from_rgb(read_rgb(png))
        height, width = ids.shape
        images.append({"id": number, "file_name": image.name, "height": height, "width": width})
        annotations.append({"image_id": number, "file_name": png.name, "segments_info": _segments(ids)})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    write_whole(root / ANNOTATIONS, json.dumps(content).encode())


def _segments(ids: NDArray[np.int32]) -> list[dict[str, Any]]:
    """Id, category, area and bounding box (left, top, width, height) of every segment of an image."""
    segments = []
    for number in np.unique(ids):
        rows, columns = np.nonzero(ids == number)
        left, top = int(columns.min()), int(rows.min())
        box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
        category, instance = divmod(int(number), panoptic.DIVISOR)
        crowd = int(instance == 0 and CLASSES[category - 1] in THINGS)
        segments.append(
            {"id": int(number), "category_id": category, "area": len(rows), "bbox": box, "iscrowd": crowd}
        )  # fmt: skip
    return segments
