"""Data sets in the panoptic format of COCO: a JSON file, and a PNG file of segment ids per image."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, RecordingError
from semla_ros.evaluation.dataset import LabelledImage
from semla_ros.images import panoptic
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.classes import UNLABELLED, first_synonym
from semla_ros.images.files import read_rgb
from semla_ros.streetworld.panoptic import ANNOTATIONS

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """Files and segments of one image.

    Attributes:
        image: Image file.
        png: PNG file of the segment ids.
        classes: Segment id to class index; 255 for segments of no class.
        things: Ids of the segments that are instances.
    """

    image: Path
    png: Path
    classes: Mapping[int, int]
    things: frozenset[int]


class CocoPanoptic:
    """Images of one domain with panoptic ground truth.

    The PNG files lie in a folder that has the name of the JSON file without its suffix, as those of COCO do. Crowds
    (``iscrowd``) have a class, but no instance. Categories that are none of the classes are unlabelled.

    Args:
        images: Folder of the images. The folder above it names the domain.
        annotations: JSON file.
        classes: Names of the classes, which are matched with those of the categories: whole names, or else the first of
            comma-separated ones. By default the categories are the classes.
        limit: Number of images, the first ones of the file; 0 takes all.

    Attributes:
        name: Name of the domain.
        classes: Names of the classes.
        things: Whether each class is a thing, which has instances.
        skipped: Damaged images that iterations left out, with the reason.

    Raises:
        RecordingError: The JSON file is missing or not of this format, a file that it names is missing, no category is
            one of the classes, or two categories have one name.
    """

    def __init__(self, images: Path, annotations: Path, classes: Sequence[str] = (), limit: int = 0) -> None:
        self.name, self.skipped = images.absolute().parent.name, dict[Path, str]()
        self._bit_depth = BitDepth()
        content = _read(annotations)
        try:
            names = {each["id"]: each["name"].strip() for each in content["categories"]}
            _check_names(names, annotations)
            self.classes = tuple(classes or names.values())
            indices = _class_indices(self.classes, names, annotations)
            things = {each["id"] for each in content["categories"] if each["isthing"]} & indices.keys()
            files = {each["id"]: images / each["file_name"] for each in content["images"]}
            chosen = content["annotations"][: limit or None]
            self._entries = [_entry(each, files, annotations, names, indices, things) for each in chosen]
        except (KeyError, TypeError, AttributeError) as error:
            raise _not_coco(annotations, f"no {error}" if isinstance(error, KeyError) else str(error)) from error
        of_things = {indices[number] for number in things}
        self.things = tuple(index in of_things for index in range(len(self.classes)))
        _check_files(self._entries, annotations)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Reads the images. A pair with a damaged file is logged once, added to `skipped` and left out.

        Raises:
            RecordingError: A PNG file has another size than its image, or ids that the JSON file does not describe.
        """
        yield from filter(None, map(self.read, range(len(self))))

    def read(self, index: int) -> LabelledImage | None:
        """Reads one image; None if it is damaged. Errors are those of an iteration."""
        entry = self._entries[index]
        if entry.image in self.skipped:
            return None
        try:
            rgb, ids = read_rgb(entry.image, self._bit_depth), panoptic.from_rgb(read_rgb(entry.png))
        except ImageError as error:
            self.skipped[entry.image] = str(error)
            LOG.warning("%s: skipped %s: %s", self.name, entry.image.name, error)
            return None
        if ids.shape != rgb.shape[:2]:
            raise RecordingError("segments of another size", where=entry.png, got=ids.shape, expected=rgb.shape[:2])
        return LabelledImage(rgb, *_truth(ids, entry))


def domains(data: Path) -> list[Path]:
    """Finds the data sets that `semla world dataset --layout coco` wrote: folders with images/ and panoptic.json.

    Args:
        data: A data set, or a folder with one data set per subfolder.

    Returns:
        Folders of the data sets, sorted by name.

    Raises:
        RecordingError: There are none.
    """
    found = [path.parent for path in [data / ANNOTATIONS, *sorted(data.glob(f"*/{ANNOTATIONS}"))] if path.is_file()]
    if not found:
        raise RecordingError("no data sets", where=data, expected=f"<domain>/images/ and <domain>/{ANNOTATIONS}")
    return found


def _truth(ids: NDArray[np.int32], entry: Entry) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Class indices and instances of an image; instances are numbered from 1 in the order of their ids."""
    found, where = np.unique(ids, return_inverse=True)
    unknown = sorted(set(found.tolist()) - {*entry.classes, 0})
    if unknown:
        raise RecordingError(
            "segments that the annotations do not describe", where=entry.png, got=unknown,
            expected="ids of segments_info, or 0 for no segment",
        )  # fmt: skip
    classes = np.array([entry.classes.get(each, UNLABELLED) for each in found.tolist()], np.uint8)
    is_thing = np.array([each in entry.things for each in found.tolist()])
    instances = np.where(is_thing, np.cumsum(is_thing), 0).astype(np.uint16)
    return classes[where].reshape(ids.shape), instances[where].reshape(ids.shape)


def _entry(
    annotation: Any, files: Mapping[Any, Path], path: Path, names: Mapping[int, str], indices: Mapping[int, int],
    things: set[int],
) -> Entry:  # fmt: skip
    segments = annotation["segments_info"]
    unknown = sorted({each["category_id"] for each in segments} - set(names))
    if unknown:
        raise RecordingError("segments of unknown categories", where=path, got=unknown, expected=sorted(names))
    classes = {each["id"]: indices.get(each["category_id"], UNLABELLED) for each in segments}
    instances = {
        each["id"] for each in segments
        if each["category_id"] in things and not each.get("iscrowd")
    }  # fmt: skip
    image, png = files.get(annotation["image_id"]), path.with_suffix("") / annotation["file_name"]
    if image is None:
        raise _not_coco(path, f"no image with the id {annotation['image_id']}")
    return Entry(image, png, classes, frozenset(instances))


def _check_names(names: Mapping[int, str], path: Path) -> None:
    """Refuses categories that their names do not distinguish: they would be one class, or none."""
    blank = [number for number, name in names.items() if not name]
    if blank:
        raise _not_coco(path, f"no name of category {blank[0]}")
    twice = sorted(name for name, count in Counter(names.values()).items() if count > 1)
    if twice:
        raise RecordingError("categories of one name", where=path, got=twice, expected="a name of its own for each")


def _class_indices(classes: Sequence[str], names: Mapping[int, str], path: Path) -> dict[int, int]:
    """Category id to class index, for the categories that are classes."""
    whole, first = ({key(name): index for index, name in enumerate(classes)} for key in (str.strip, first_synonym))
    found = {number: whole.get(name, first.get(first_synonym(name))) for number, name in names.items()}
    indices = {number: index for number, index in found.items() if index is not None}
    if not indices:
        raise RecordingError("no category is one of the classes", where=path, got=[*names.values()], expected=[*first])
    if len(classes) > UNLABELLED:
        raise RecordingError("too many classes", where=path, got=len(classes), expected=f"at most {UNLABELLED}")
    return indices


def _check_files(entries: Sequence[Entry], path: Path) -> None:
    if not entries:
        raise RecordingError("no images", where=path, expected="at least one annotation")
    missing = [each for entry in entries for each in (entry.image, entry.png) if not each.is_file()]
    if missing:
        raise RecordingError(
            "files of the data set are missing", where=path, got=f"{len(missing)} missing, such as {missing[0]}",
            expected=f"images in the folder given, segments in {path.with_suffix('')}",
        )  # fmt: skip


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RecordingError("annotations cannot be read", where=path, got=error.strerror) from error
    except ValueError as error:
        raise _not_coco(path, str(error)) from error


def _not_coco(path: Path, reason: str) -> RecordingError:
    expected = "JSON with images, annotations with segments_info, and categories with isthing"
    return RecordingError("not in the panoptic format of COCO", where=path, got=reason, expected=expected)
