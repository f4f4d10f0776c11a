"""Data sets of plain pairs: a folder of images, and a folder of label maps with the same names."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, RecordingError
from semla_ros.evaluation.cityscapes import IMAGES, LABELS, CityscapesFolder
from semla_ros.evaluation.dataset import Dataset, LabelledImage
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import UNLABELLED
from semla_ros.images.files import IMAGE_SUFFIXES, read_rgb, read_unchanged
from semla_ros.text import counted, on_one_line

LOG = logging.getLogger(__name__)
LABEL_SUFFIXES = {".png", ".bmp", ".pgm", ".tif", ".tiff"}  # without those that lose values by compression


class PairedFolders:
    """Images of one domain, and their label maps of the same name before the suffix, such as those of `semla world`.

    Images and label maps may lie in subfolders, which then have the same names, too.

    Args:
        images: Folder of the images.
        labels: Folder of the label maps: one channel, uint8. Ids are indices of the classes, 255 is unlabelled.
        classes: Names of the classes, in the order of their ids.

    Attributes:
        name: Name of the domain: of the folder of the images.
        skipped: Files that are left out, with the reason: an image without a label map or without a labelled pixel, a
            damaged file, or a further file of the same name.

    Raises:
        RecordingError: A folder is missing, or there are no images, or none of them has a label map.
    """

    def __init__(self, images: Path, labels: Path, classes: Sequence[str]) -> None:
        self.name, self.classes = images.name, tuple(classes)
        self.skipped: dict[Path, str] = {}
        found, maps = self._files(images, IMAGE_SUFFIXES), self._files(labels, LABEL_SUFFIXES)
        if not found:
            raise RecordingError("no images", where=images, expected=" ".join(sorted(IMAGE_SUFFIXES)))
        self._pairs = [(image, maps[stem]) for stem, image in found.items() if stem in maps]
        if not self._pairs:
            example, number = next(iter(found)).with_suffix(".png"), counted(len(found), "image")
            raise RecordingError(
                "images without label maps", where=labels, got=f"{counted(len(maps), 'label map')}, none for {number}",
                expected=f"{example} for {next(iter(found.values())).name}",
                hint=f"Label maps are files of {' '.join(sorted(LABEL_SUFFIXES))}; JPEG does not keep class ids.",
            )  # fmt: skip
        for stem, image in found.items():
            if stem not in maps:
                self._skip(image, "it has no label map")
        if unused := [path for stem, path in maps.items() if stem not in found]:
            number, first = counted(len(unused), "label map"), on_one_line(unused[0].name)
            LOG.warning("%s: %s without an image, such as %s", self.name, number, first)

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the images. A pair with a damaged file, or without a labelled pixel, is logged once and left out.

        Raises:
            RecordingError: A label map has another size than its image, several channels, or ids without a class.
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
            checked = self._checked(ids, rgb, label)
            if (checked == UNLABELLED).all():
                self._skip(image, "its label map has no labelled pixel")
                continue
            yield LabelledImage(rgb, checked)

    def _files(self, folder: Path, suffixes: Collection[str]) -> dict[Path, Path]:
        """Files of a folder by their relative path without the suffix, sorted by it; hidden ones are left out."""
        if not folder.is_dir():
            raise RecordingError("not a folder" if folder.exists() else "no such folder", where=folder)
        files: dict[Path, Path] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in suffixes or path.name.startswith("."):
                continue
            if not path.is_file():
                self._skip(path, "it is no file")
            else:
                first = files.setdefault(path.relative_to(folder).with_suffix(""), path)
                if first != path:
                    self._skip(path, f"{first.name} has the same name before the suffix")
        return files

    def _skip(self, image: Path, reason: str) -> None:
        self.skipped[image] = reason
        LOG.warning("%s: skipped %s: %s", self.name, on_one_line(image.name), reason)

    def _checked(self, ids: NDArray[np.integer], rgb: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise RecordingError(
                "not a label map", where=path, got=f"{ids.dtype} {ids.shape}", expected="uint8 (H, W)",
                hint="Label maps hold class ids of 8 bits in one grey channel, without colours or a palette.",
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
    """Opens a data set for a training: plain pairs, or the layout of Cityscapes. Both skip images without labels.

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
    return CityscapesFolder(root, split, classes, skip_unlabelled=True)
