"""A training set that waits for its labels: the images of a gap, and the classes for labelling tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import quoteattr

from semla_ros.images.classes import ClassInfo, class_names
from semla_ros.images.files import write_whole, writing

IMAGES, LABELS, CLASSES = "images", "labels", "classes.txt"
CVAT, LABEL_STUDIO = "cvat_labels.json", "label_studio.xml"
BACKGROUND = 0, 0, 0  # in exported masks


def write_training_set(folder: Path, images: Iterable[Path], classes: Sequence[ClassInfo]) -> list[Path]:
    """Writes the images, an empty folder for their label maps, and the classes in three formats.

    ``classes.txt`` has one class on each line, in the order of the ids in label maps. ``cvat_labels.json`` is the text
    for the "Raw" view of CVAT's label editor, ``label_studio.xml`` the labelling configuration of a Label Studio
    project.

    Args:
        folder: Folder to write; created if missing. Label maps in it stay.
        images: Image files to copy; a file that is missing is left out.
        classes: The segmenter's classes.

    Returns:
        The copies of the images.

    Raises:
        ImageError: The disk is full, or the folder cannot be written.
    """
    with writing(folder):
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        (folder / LABELS).mkdir(exist_ok=True)
    copies = []
    for file in images:
        copy = folder / IMAGES / file.name
        with writing(copy), suppress(FileNotFoundError):  # a running node may replace an image at any time
            shutil.copyfile(file, copy)
            copies.append(copy)
    write_whole(folder / CLASSES, "".join(f"{each.name}\n" for each in classes).encode())
    write_whole(folder / CVAT, f"{json.dumps(_cvat(classes), indent=2)}\n".encode())
    write_whole(folder / LABEL_STUDIO, _label_studio(classes).encode())
    return copies


def _cvat(classes: Sequence[ClassInfo]) -> list[dict[str, object]]:
    """Labels as CVAT's label editor shows them."""
    return [{"name": name, "color": color, "type": "mask", "attributes": []} for name, color in _named(classes)]


def _label_studio(classes: Sequence[ClassInfo]) -> str:
    """A labelling configuration for semantic segmentation with a brush."""
    named = [(quoteattr(name), color) for name, color in _named(classes)]
    labels = "".join(f'    <Label value={name} background="{color}"/>\n' for name, color in named)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="label" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def _named(classes: Sequence[ClassInfo]) -> list[tuple[str, str]]:
    """Name in labelling tools and colour (#rrggbb) of each class. A colour stands for one class in exported masks."""
    taken = {BACKGROUND}
    out = []
    for name, (red, green, blue) in zip(class_names(classes), (each.color for each in classes), strict=True):
        while (red, green, blue) in taken:
            blue = (blue + 101) % 256
        taken.add((red, green, blue))
        out.append((name, f"#{red:02x}{green:02x}{blue:02x}"))
    return out
