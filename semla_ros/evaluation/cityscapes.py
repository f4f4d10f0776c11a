"""Data sets in Cityscapes' folder layout, with its 19 evaluated classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import RecordingError
from semla_ros.images.classes import CITYSCAPES_COLORS, UNLABELLED

IMAGES, LABELS = "leftImg8bit", "gtFine"
IMAGE_SUFFIXES = "_leftImg8bit.png", "_rgb_anon.png", "_frame_camera.png"  # Cityscapes, ACDC, MUSES
TRAIN_SUFFIXES = "_gtFine_labelTrainIds.png", "_gt_labelTrainIds.png"
ID_SUFFIXES = "_gtFine_labelIds.png", "_gt_labelIds.png"
LABEL_IDS = 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33  # of the 19, among all 34


@dataclass(frozen=True, slots=True)
class Labelled:
    """A image with its ground truth.

    Attributes:
        rgb: (H, W, 3) uint8.
        labels: Class indices (H, W) uint8, 255 where nothing is counted.
    """

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class CityscapesFolder:
    """A domain's images: ``leftImg8bit/<split>/**`` and ``gtFine/<split>/**`` below one folder.

    Args:
        root: The folder; its name is the domain's.
        split: "val", "train", ...
        classes: Of the segmenter, found among Cityscapes' by their (first) names. Others are not counted.
        limit: Number of images, the first ones by name; 0 takes all.

    Raises:
        RecordingError: There are no images, one has no label map, or no class is one of Cityscapes'.
    """

    def __init__(self, root: Path, split: str, classes: Sequence[str], limit: int = 0) -> None:
        self.name = root.name
        self._to_classes = _to_classes(classes)
        folder = root / IMAGES / split
        found = sorted(path for suffix in IMAGE_SUFFIXES for path in folder.rglob(f"*{suffix}"))
        if not found:
            raise RecordingError(
                "no images", where=folder, expected=" or ".join(f"*{suffix}" for suffix in IMAGE_SUFFIXES),
                hint="The layout is Cityscapes': leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/.",
            )  # fmt: skip
        self._pairs = [(image, _label_of(image, root, split)) for image in found[: limit or None]]

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[Labelled]:
        """Reads pair after pair.

        Raises:
            RecordingError: A file is damaged, has ids that Cityscapes has not, or a pair is of two sizes.
        """
        for image, label in self._pairs:
            rgb = _read(image, cv2.IMREAD_COLOR)[..., ::-1]
            labels = self._to_classes[_train_ids(label)]
            if rgb.shape[:2] != labels.shape:
                raise RecordingError("label map of another size", where=label, got=labels.shape, expected=rgb.shape[:2])
            yield Labelled(np.ascontiguousarray(rgb), labels)


def domains(data: Path) -> list[Path]:
    """The data sets of a folder: itself, or each folder in it.

    Raises:
        RecordingError: There are none.
    """
    if (data / IMAGES).is_dir():
        return [data]
    found = sorted(path for path in data.iterdir() if (path / IMAGES).is_dir()) if data.is_dir() else []
    if not found:
        raise RecordingError(
            "no data sets", where=data, expected=f"<domain>/{IMAGES}/<split>/<city>/*{IMAGE_SUFFIXES[0]}"
        )
    return found


def train_id_table() -> NDArray[np.uint8]:
    """Cityscapes' label id (256,) to its train id, 255 for what is not evaluated."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table


def _to_classes(classes: Sequence[str]) -> NDArray[np.uint8]:
    """Train id (256,) to class index."""
    names = [name.split(",")[0].strip() for name in classes]
    table = np.full(256, UNLABELLED, np.uint8)
    for train_id, name in enumerate(CITYSCAPES_COLORS):
        if name in names:
            table[train_id] = names.index(name)
    if (table == UNLABELLED).all():
        raise RecordingError("no class is one of Cityscapes'", got=list(classes), expected=", ".join(CITYSCAPES_COLORS))
    return table


def _label_of(image: Path, root: Path, split: str) -> Path:
    suffix = next(suffix for suffix in IMAGE_SUFFIXES if image.name.endswith(suffix))
    place = root / LABELS / split / image.parent.relative_to(root / IMAGES / split)
    candidates = [place / (image.name.removesuffix(suffix) + end) for end in (*TRAIN_SUFFIXES, *ID_SUFFIXES)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise RecordingError("image without a label map", where=image, expected=f"{candidates[0]} or _labelIds")


def _train_ids(path: Path) -> NDArray[np.uint8]:
    labels = _read(path, cv2.IMREAD_UNCHANGED)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise RecordingError("not a label map", where=path, got=f"{labels.dtype} {labels.shape}", expected="8 bit grey")
    by_train_id = path.name.endswith(TRAIN_SUFFIXES)
    known = len(LABEL_IDS) if by_train_id else 34
    strange = sorted({int(value) for value in np.unique(labels)} - {*range(known), UNLABELLED})
    if strange:
        raise RecordingError(
            "ids that Cityscapes has not", where=path, got=strange, expected=f"0 to {known - 1}, or 255"
        )
    return labels if by_train_id else train_id_table()[labels]


def _read(path: Path, flag: int) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), flag)
    if image is None:
        raise RecordingError("unreadable image", where=path, hint="It is damaged, or no image at all.")
    return np.asarray(image)
