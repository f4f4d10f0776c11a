"""The recordings of a batch run: found below the inputs, named, and recognised when a run continues."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from semla_ros.errors import RecordingError
from semla_ros.images.files import IMAGE_SUFFIXES
from semla_ros.recordings import Recording, is_bag, open_recording
from semla_ros.recordings.bag_files import STORAGES
from semla_ros.recordings.image_folder import image_files
from semla_ros.text import storable

STATE = "run.sqlite"  # in the output folder of a run
VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"}


@dataclass(frozen=True)
class Source:
    """One recording.

    Attributes:
        path: A bag, a video, an image or a folder of images.
        label: Name of its folder in the output; no two sources have the same.
        topic: Image topic; None for other recordings than bags, or for the only camera of a bag.
        fps: Images per second of image files; None for other recordings, or for the times in the names.
    """

    path: Path
    label: str
    topic: str | None = None
    fps: float | None = None

    def open(self) -> Recording:
        """Opens the recording.

        Raises:
            RecordingError: As for `semla_ros.recordings.open_recording`.
        """
        return open_recording(self.path, self.topic, self.fps)

    def frame_count(self) -> int | None:
        """Number of images; None if it cannot be read, or if only reading all of them can tell."""
        try:
            return self.open().frame_count
        except RecordingError:
            return None

    def fingerprint(self) -> str:
        """A checksum that changes when images are added, removed or renamed, and when a bag or a video changes.

        A damaged image may be replaced by a whole one: for those that have been read, see `sizes`.
        """
        content = [file.name for file in self._images()]
        if not content:
            files = [file for file in self.path.iterdir() if file.is_file()] if self.path.is_dir() else [self.path]
            content = [f"{file.name} {file.stat().st_size}" for file in sorted(files)]
        content += [f"{name} {value}" for name, value in (("topic", self.topic), ("fps", self.fps)) if value]
        return hashlib.sha256(storable("\n".join(content)).encode()).hexdigest()

    def sizes(self) -> dict[str, int]:
        """Size of each image's own file in bytes, by the name of the image; empty for a bag or a video."""
        if not self._images():
            return {}
        images = self.open()
        return {images.frame_name(number): images.file_size(number) for number in range(images.frame_count or 0)}

    def _images(self) -> list[Path]:
        """The image files, sorted; none for a bag or a video."""
        if self.path.is_dir():
            return [] if is_bag(self.path) else sorted(image_files(self.path))
        return [self.path] if self.path.suffix.lower() in IMAGE_SUFFIXES else []


def find_sources(inputs: Sequence[Path], out: Path, topic: str | None = None, fps: float | None = None) -> list[Source]:
    """Finds all recordings below the inputs, in order of their names.

    Args:
        inputs: Bags, videos, images, and folders that hold any of them at any depth.
        out: Output folder. It is not searched, and nor are those of other runs below the inputs.
        topic: Image topic of the bags.
        fps: Images per second of image files.

    Raises:
        RecordingError: An input does not exist, is the output folder, or has no recording in it.
    """
    sources: list[Source] = []
    labels: set[str] = set()
    for path in inputs:
        if not path.exists():
            raise RecordingError("no such recording", where=path)
        if path.resolve() == out.resolve():
            raise RecordingError("output folder that is an input, too", where=out, hint="Choose another output folder.")
        found = list(_recordings(path, out.resolve()))
        if not found:
            raise RecordingError("no images, videos or bags in it", where=path, expected="at least one recording")
        for each in found:
            label = _free(storable(each.resolve().stem if each.is_file() else each.resolve().name), labels)
            labels.add(label)
            bag = is_bag(each)
            images = not bag and (each.is_dir() or each.suffix.lower() in IMAGE_SUFFIXES)
            sources.append(Source(each, label, topic if bag else None, fps if images else None))
    return sources


def _recordings(path: Path, out: Path) -> Iterator[Path]:
    """Yields the recordings of a file or folder. All images of one folder are one recording."""
    if path.is_file() or is_bag(path):
        yield path
        return
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    if any(each.suffix.lower() in IMAGE_SUFFIXES and each.is_file() for each in inside):
        yield path
    for each in inside:
        if each.is_dir():
            if _is_searched(each, out):
                yield from _recordings(each, out)
        elif each.suffix.lower() in VIDEOS | STORAGES | {".bag"} and each.is_file():
            yield each


def _is_searched(folder: Path, out: Path) -> bool:
    """Whether a folder below an input is no output of a run, and no link that leads back."""
    target, parent = folder.resolve(), folder.parent.resolve()
    return not (target == out or (folder / STATE).exists() or target in (parent, *parent.parents))


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken."""
    label, number = name, 2
    while label in taken:
        label, number = f"{name}_{number}", number + 1
    return label
