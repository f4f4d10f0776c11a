"""The classes of a segmenter, and the label images that hold their ids."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ConfigError

Labels: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]  # class ids (H, W)
UNLABELLED = 255  # marks unlabelled pixels in uint8 label images, which hold up to 255 classes
CITYSCAPES_COLORS = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class.

    Attributes:
        id: Value of the class in label images.
        name: Name that the prompts for the text encoder are made from; synonyms are separated by commas.
        color: Red, green and blue, 0 to 255.
    """

    id: int
    name: str
    color: tuple[int, int, int]


def class_table(
    names: Sequence[str], colors: Mapping[str, tuple[int, int, int]] = CITYSCAPES_COLORS
) -> tuple[ClassInfo, ...]:
    """Creates the classes: numbers them in the order of their names, from 0, and gives each a colour.

    Args:
        names: Class names; synonyms after commas ("car, automobile").
        colors: Class name to colour. The whole name of a class selects its colour, else the first synonym does; a class
            without an entry gets a distinct hue.

    Raises:
        ConfigError: A class is named twice, or has no name.
    """
    blank = [name for name in names if not any(synonym.strip() for synonym in name.split(","))]
    if blank:
        raise ConfigError("class without a name", where="segmenter.classes", got=blank[0], expected="a word")
    stripped = [name.strip() for name in names]
    twice = sorted({name for name in stripped if stripped.count(name) > 1})
    if twice:
        raise ConfigError("class named twice", where="segmenter.classes", got=twice)
    known = {first_synonym(name): color for name, color in colors.items()} | dict(colors)
    return tuple(
        ClassInfo(i, name, known.get(name.strip(), known.get(first_synonym(name), _hue(i))))
        for i, name in enumerate(names)
    )


def first_synonym(name: str) -> str:
    """Returns the first of the comma-separated synonyms of a class."""
    return name.split(",")[0].strip()


def class_names(classes: Sequence[ClassInfo]) -> list[str]:
    """Returns the first synonym of each class; the whole name where two classes have the same first synonym."""
    first = [first_synonym(info.name) for info in classes]
    return [name if first.count(name) == 1 else info.name for name, info in zip(first, classes, strict=True)]


def unlabelled(labels: Labels) -> int:
    """Returns the value that marks unlabelled pixels in a label image: 255 for uint8, 65535 for uint16."""
    return int(np.iinfo(labels.dtype).max)


def _hue(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1.0, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
