"""The classes of a segmenter: index, name and colour."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semla_ros.errors import ConfigError

UNLABELLED = 255
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
        name: Text for the text encoder; synonyms are separated by commas.
        color: Red, green and blue, 0 to 255.
    """

    id: int
    name: str
    color: tuple[int, int, int]


def class_table(
    names: Sequence[str], colors: Mapping[str, tuple[int, int, int]] = CITYSCAPES_COLORS
) -> tuple[ClassInfo, ...]:
    """Numbers the classes in their order and gives each a colour.

    Args:
        names: Class names, for example "car, automobile".
        colors: Colours by class name; the first synonym of a class is looked up. Other classes get distinct hues.

    Raises:
        ConfigError: A class is named twice.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("class named twice", where="segmenter.classes", got=twice)
    return tuple(ClassInfo(i, name, colors.get(name.split(",")[0].strip(), _hue(i))) for i, name in enumerate(names))


def _hue(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1.0, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
