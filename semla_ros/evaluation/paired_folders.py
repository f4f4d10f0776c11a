"""Data sets of plain pairs: a folder of images, and a folder of label maps with the same names."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, RecordingError
from semla_ros.evaluation.cityscapes import IMAGES, LABELS, CityscapesFolder
from semla_ros.evaluation.dataset import Dataset, LabelledImage
from semla_ros.images.classes import UNLABELLED
from semla_ros.images.files import read_rgb, read_unchanged

LOG = logging.getLogger(__name__)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff", ".webp")
LABEL_SUFFIXES = (".png", ".bmp", ".pgm", ".tif", ".tiff")  # without those that lose values by compression


class PairedFolders:
    """Images of one domain, and their label maps of the same name before the suffix, such as those of `semla world`.

    Images and label maps may lie in subfolders, which then have the same names, too.

    Args:
        images: Folder of the images.
        labels: Folder of the label maps: one channel, uint8. Ids are indices of the classes, 255 is unlabelled.
        classes: Names of the classes, in the order of their ids.

    Attributes:
        name: Name of the domain: of the folder of the images.
        skipped: Images that are left out, with the reason: no label map, or a damaged file.

    Raises:
        RecordingError: A folder is missing, or there are no images, or none of them has a label map.
    """

    def __init__(self, images: Path, labels: Path, classes: Sequence[str]) -> None:
        self.name, self.classes = images.name, tuple(classes)
        self.skipped: dict[Path, str] = {}
        found, maps = _files(images, IMAGE_SUFFIXES), _files(labels, LABEL_SUFFIXES)
        if not found:
            raise RecordingError("no images", where=images, expected=" or ".join(f"*{each}" for each in IMAGE_SUFFIXES))
        self._pairs = [(image, maps[stem]) for stem, image in found.items() if stem in maps]
        if not self._pairs:
            example = next(iter(found)).with_suffix(".png")
            raise RecordingError(
                "images without label maps", where=labels, got=f"{len(maps)} label maps, none for {len(found)} images",
                expected=f"{example} for {next(iter(found.values())).name}",
            )  # fmt: skip
        for stem, image in found.items():
            if stem not in maps:
                self._skip(image, "it has no label map")

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the images. A pair with a damaged file is logged once, added to `skipped` and left out.

        Raises:
            RecordingError: A label map has another size than its image, several channels, or ids without a class.
        """
        for image, label in self._pairs:
            if image in self.skipped:
                continue
            try:
                rgb, ids = read_rgb(image), read_unchanged(label)
            except ImageError as error:
                self._skip(image, str(error))
                continue
            yield LabelledImage(rgb, self._checked(ids, rgb, label))

    def _skip(self, image: Path, reason: str) -> None:
        self.skipped[image] = reason
        LOG.warning("%s: skipped %s: %s", self.name, image.name, reason)

    def _checked(self, ids: NDArray[np.integer], rgb: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise RecordingError(
                "not a label map", where=path, got=f"{ids.dtype} {ids.shape}", expected="uint8 (H, W)",
                hint="Label maps hold class ids in one grey channel, not colours.",
            )  # fmt: skip
        if ids.shape != rgb.shape[:2]:
            raise RecordingError("label map of another size", where=path, got=ids.shape, expected=rgb.shape[:2])
        unknown = sorted({int(value) for value in np.unique(ids)} - {*range(len(self.classes)), UNLABELLED})
        if unknown:
            last = len(self.classes) - 1
            raise RecordingError(
                "ids without a class", where=path, got=unknown,
                expected=f"0 ({self.classes[0]}) to {last} ({self.classes[last]}), or 255 for unlabelled",
                hint="--classes FILE names other classes, one per line.",
            )  # fmt: skip
        return ids.astype(np.uint8, copy=False)


def open_dataset(images: Path, labels: Path, classes: Sequence[str]) -> Dataset:
    """Opens a data set of plain pairs, or one in the layout of Cityscapes.

    Args:
        images: Folder of the images: any folder, or ``<root>/leftImg8bit/<split>``.
        labels: Folder of the label maps: any folder, or ``<root>/gtFine/<split>``.
        classes: Names of the classes.

    Raises:
        RecordingError: See `PairedFolders` and `semla_ros.evaluation.cityscapes.CityscapesFolder`.
    """
    root, split = images.absolute().parent.parent, images.name
    if images.absolute().parent.name != IMAGES:
        return PairedFolders(images, labels, classes)
    if labels.absolute() != root / LABELS / split:
        raise RecordingError("label maps of another split", where=labels, expected=root / LABELS / split)
    return CityscapesFolder(root, split, classes)


def _files(folder: Path, suffixes: Sequence[str]) -> dict[Path, Path]:
    """Files of a folder by their relative path without the suffix, sorted by it; hidden ones are left out."""
    if not folder.is_dir():
        raise RecordingError("not a folder" if folder.exists() else "no such folder", where=folder)
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return {path.relative_to(folder).with_suffix(""): path for path in sorted(found)}
