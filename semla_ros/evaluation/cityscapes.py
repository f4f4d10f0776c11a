"""Data sets in the folder layout of Cityscapes, with its 19 evaluated classes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, RecordingError
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import CITYSCAPES_COLORS, UNLABELLED, first_synonym
from semla_ros.images.files import read_rgb, read_unchanged

LOG = logging.getLogger(__name__)

IMAGES, LABELS = "leftImg8bit", "gtFine"
IMAGE_ENDS = "_leftImg8bit.png", "_rgb_anon.png", "_frame_camera.png"  # Cityscapes, ACDC, MUSES
TRAIN_ENDS = "_gtFine_labelTrainIds.png", "_gt_labelTrainIds.png"
ID_ENDS = "_gtFine_labelIds.png", "_gt_labelIds.png"
LABEL_ID_COUNT = 34
LABEL_IDS = 7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33  # of the 19 evaluated classes


class CityscapesFolder:
    """Images of one domain in ``leftImg8bit/<split>/**`` and label maps in ``gtFine/<split>/**`` of one folder.

    Args:
        root: The folder. Its name is the name of the domain.
        split: Name of the split, for example "val".
        classes: Names of the segmenter's classes; of comma-separated names, the first one counts. They are matched
            with the classes of Cityscapes by name. Other classes of Cityscapes are not evaluated.
        limit: Number of images, the first ones in the order of their names; 0 takes all.
        skip_unlabelled: Whether images without a label map, or without an evaluated pixel, are skipped, for a training.

    Attributes:
        skipped: Images that are left out, with the reason.

    Raises:
        RecordingError: There are no images, an image has no label map (with ``skip_unlabelled``: all of them), or no
            class is one of Cityscapes.
    """

    def __init__(
        self, root: Path, split: str, classes: Sequence[str], limit: int = 0, skip_unlabelled: bool = False
    ) -> None:
        self.name = root.name
        self.skipped: dict[Path, str] = {}
        self._to_classes, self._skip_unlabelled = _to_classes(classes), skip_unlabelled
        folder = root / IMAGES / split
        found = sorted(path for end in IMAGE_ENDS for path in folder.rglob(f"*{end}"))
        if not found:
            raise RecordingError(
                "no images", where=folder, expected=" or ".join(f"*{end}" for end in IMAGE_ENDS),
                hint="The layout is that of Cityscapes: leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/.",
            )  # fmt: skip
        self._pairs = [(image, _label_of(image, root, split)) for image in found[: limit or None]]
        missing = [pair for pair in self._pairs if not pair[1].is_file()]
        if missing and not (skip_unlabelled and len(missing) < len(self._pairs)):
            image, label = missing[0]
            raise RecordingError("image without a label map", where=image, expected=f"{label} or _labelIds")
        for image, _ in missing:
            self._skip(image, "it has no label map")

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the images. A pair with a damaged file is logged once, added to `skipped` and left out.

        Raises:
            RecordingError: A label map has another size than its image, or ids that Cityscapes does not define.
        """
        bit_depth = BitDepth()
        for image, label in self._pairs:
            if image in self.skipped:
                continue
            try:
                rgb, ids = read_rgb(image, bit_depth), read_unchanged(label)
            except ImageError as error:
                self._skip(image, str(error))
                continue
            labels = self._to_classes[_train_ids(label, ids)]
            if rgb.shape[:2] != labels.shape:
                raise RecordingError("label map of another size", where=label, got=labels.shape, expected=rgb.shape[:2])
            if self._skip_unlabelled and (labels == UNLABELLED).all():
                self._skip(image, "its label map has no labelled pixel of the classes")
                continue
            yield LabelledImage(rgb, labels)

    def _skip(self, image: Path, reason: str) -> None:
        self.skipped[image] = reason
        LOG.warning("%s: skipped %s: %s", self.name, image.name, reason)


def domains(data: Path) -> list[Path]:
    """Finds the data sets in a folder. Subfolders without the layout of Cityscapes are logged and left out.

    Args:
        data: A data set, or a folder with one data set per subfolder.

    Returns:
        Folders of the data sets, sorted by name.

    Raises:
        RecordingError: There are none.
    """
    if (data / IMAGES).is_dir():
        return [data]
    folders = sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    found = [path for path in folders if (path / IMAGES).is_dir()]
    for path in folders:
        if path not in found and not path.name.startswith("."):
            LOG.warning("skipped folder %s: it has no subfolder %s", path, IMAGES)
    if not found:
        raise RecordingError("no data sets", where=data, expected=f"<domain>/{IMAGES}/<split>/<city>/*{IMAGE_ENDS[0]}")
    return found


def train_id_table() -> NDArray[np.uint8]:
    """Table from label id to train id of Cityscapes, (256,) uint8; 255 for ids that are not evaluated."""
    table = np.full(256, UNLABELLED, np.uint8)
    table[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
    return table


def _to_classes(classes: Sequence[str]) -> NDArray[np.uint8]:
    """Table from train id to class index, (256,) uint8; 255 for train ids that are not evaluated."""
    names = [first_synonym(name) for name in classes]
    table = np.full(256, UNLABELLED, np.uint8)
    for train_id, name in enumerate(CITYSCAPES_COLORS):
        if name in names:
            table[train_id] = names.index(name)
    if (table == UNLABELLED).all():
        raise RecordingError("no class is one of Cityscapes", got=list(classes), expected=", ".join(CITYSCAPES_COLORS))
    return table


def _label_of(image: Path, root: Path, split: str) -> Path:
    """Path of the label map that belongs to an image, or the expected one if there is none."""
    suffix = next(end for end in IMAGE_ENDS if image.name.endswith(end))
    place = root / LABELS / split / image.parent.relative_to(root / IMAGES / split)
    candidates = [place / (image.name.removesuffix(suffix) + end) for end in (*TRAIN_ENDS, *ID_ENDS)]
    return next(filter(Path.is_file, candidates), candidates[0])


def _train_ids(path: Path, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Checks the ids of a label map and converts them to train ids, (H, W) uint8."""
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise RecordingError(
            "not a label map", where=path, got=f"{labels.dtype} {labels.shape}", expected="uint8 (H, W)"
        )
    by_train_id = path.name.endswith(TRAIN_ENDS)
    known = len(LABEL_IDS) if by_train_id else LABEL_ID_COUNT
    unknown = sorted({int(value) for value in np.unique(labels)} - {*range(known), UNLABELLED})
    if unknown:
        raise RecordingError(
            "ids that Cityscapes does not define", where=path, got=unknown, expected=f"0 to {known - 1}, or 255"
        )
    return labels.astype(np.uint8, copy=False) if by_train_id else train_id_table()[labels]
