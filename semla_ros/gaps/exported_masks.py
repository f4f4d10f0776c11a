"""Label maps from what CVAT exports in its format "Segmentation mask 1.1": a colour for each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ConfigError, ImageError
from semla_ros.gaps.training_set import CLASSES, IMAGES, LABELS
from semla_ros.images.classes import UNLABELLED, class_names, class_table
from semla_ros.images.files import read_rgb, write_image
from semla_ros.library.archives import unpack

MASKS, COLORS = "SegmentationClass", "labelmap.txt"
Color = tuple[int, int, int]


@dataclass
class Labelled:
    """What became of the images of a training set.

    Attributes:
        written: Number of images with a new label map.
        missing: Names of the images without a mask in the export.
        errors: Why a mask was skipped, one for each.
    """

    written: int = 0
    missing: list[str] = field(default_factory=list)
    errors: list[ImageError] = field(default_factory=list)


def write_labels(export: Path, training_set: Path) -> Labelled:
    """Writes a label map for each image of a training set that has a mask in the export.

    Pixels of no class, or of a class that the training set does not have, are unlabelled (255).

    Args:
        export: CVAT's zip file, or the folder that it was unpacked to.
        training_set: Folder with images/, labels/ and classes.txt, as `semla library gaps` writes it.

    Raises:
        ImageError: The export or the training set is not complete, there are more than 255 classes, a class is named
            twice, two classes have one colour, or a label map cannot be written.
        ArchiveError: The zip file is damaged or not to be trusted.
    """
    if not export.exists():
        raise ImageError("no such export", where=export, expected="CVAT's zip file, or its folder")
    ids = _ids(training_set / CLASSES)
    out = Labelled()
    with _folder(export) as folder:
        ids_by_color = _ids_by_color(_file(folder / COLORS), ids)
        for image in sorted((training_set / IMAGES).iterdir()):
            mask = folder / MASKS / f"{image.stem}.png"
            if not mask.is_file():
                out.missing.append(image.name)
                continue
            try:
                labels = _labels(mask, ids_by_color)
            except ImageError as error:
                out.errors.append(error)
                continue
            write_image(training_set / LABELS / mask.name, labels)
            out.written += 1
    return out


@contextmanager
def _folder(export: Path) -> Iterator[Path]:
    """The folder of an export, which is unpacked for as long as it is used."""
    if not export.is_file():
        yield export
        return
    with TemporaryDirectory(prefix="semla_labels_") as place:
        yield unpack(export, Path(place, "export"))


def _file(path: Path) -> list[str]:
    """The lines of a text file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        hint = 'In CVAT, export the task as "Segmentation mask 1.1".' if path.name == COLORS else None
        raise ImageError("unreadable list of classes", where=path, got=error, hint=hint) from error


def _ids(file: Path) -> dict[str, int]:
    """Ids by the names of the classes in labelling tools."""
    lines = _file(file)
    if len(lines) > UNLABELLED:
        raise ImageError("too many classes", where=file, got=len(lines), expected=f"at most {UNLABELLED}")
    try:
        names = class_names(class_table(lines))
    except ConfigError as error:
        raise ImageError("unusable list of classes", where=file, got=error) from error
    return {name.strip(): number for number, name in enumerate(names)}


def _ids_by_color(lines: list[str], ids: Mapping[str, int]) -> dict[Color, int]:
    """Class ids by colour, from lines such as "road:128,64,128::"."""
    found: dict[Color, int] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            name, color = _name_and_color(line)
            number = ids.get(name, UNLABELLED)
            if found.setdefault(color, number) != number:
                raise ImageError("two classes with one colour", where=COLORS, got=line, expected="a colour of its own")
    return found


def _name_and_color(line: str) -> tuple[str, Color]:
    name, color, *_ = [*line.split(":"), ""]
    try:
        red, green, blue = (int(part) for part in color.split(","))
    except ValueError as error:
        raise ImageError("class without a colour", where=COLORS, got=line, expected="name:r,g,b::") from error
    return name.strip(), (red, green, blue)


def _labels(mask: Path, ids_by_color: Mapping[Color, int]) -> NDArray[np.uint8]:
    """Class ids (H, W) of a mask.

    Raises:
        ImageError: The mask is damaged, or has a colour that stands for no class.
    """
    rgb = read_rgb(mask).astype(np.int32)
    packed = rgb @ np.array([65536, 256, 1], np.int32)
    labels = np.full(packed.shape, UNLABELLED, np.uint8)
    for value in np.unique(packed):
        color = int(value) >> 16, int(value) >> 8 & 255, int(value) & 255
        if color not in ids_by_color and any(color):  # black is the background
            raise ImageError("mask with a colour of no class", where=mask, got=color, expected=f"one in {COLORS}")
        labels[packed == value] = ids_by_color.get(color, UNLABELLED)
    return labels
