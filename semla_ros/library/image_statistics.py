"""Computes the statistics of adapters from their training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.adaptation.statistics import Statistics
from semla_ros.adaptation.statistics_file import save_statistics
from semla_ros.errors import AdapterError, ImageError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.images.files import IMAGE_SUFFIXES, read_rgb
from semla_ros.images.texture import texture
from semla_ros.library.adapter_folder import statistics_file
from semla_ros.library.manifest import relist
from semla_ros.modeling.base import Navigator
from semla_ros.whole_file import whole_file

IMAGE_FOLDERS = "images", "leftImg8bit"  # where a labelled data set keeps its images, apart from its label maps


def images_of(root: Path, name: str) -> list[Path]:
    """Finds the training images of an adapter, in natural places.

    Args:
        root: Folder with one sub-folder per adapter.
        name: Name of the adapter. Its sub-folder holds images at any depth. If it has a folder ``images`` or
            ``leftImg8bit``, only the images in that one count: label maps are images, too.

    Returns:
        Image files, sorted.

    Raises:
        AdapterError: There is no such folder, or it holds no images.
    """
    folder = root / name
    if not folder.is_dir():
        raise AdapterError("no images for adapter", where=name, got=f"no folder {folder}", expected="its images in it")
    folder = next((folder / each for each in IMAGE_FOLDERS if (folder / each).is_dir()), folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        raise AdapterError(
            "no images for adapter", where=name, got=f"nothing in {folder}", expected=" ".join(sorted(IMAGE_SUFFIXES))
        )
    return files


def image_statistics(
    images: Iterable[Path], navigator: Navigator, on_error: Callable[[ImageError], None]
) -> Statistics | None:
    """Computes the statistics of image files.

    Args:
        images: Image files.
        navigator: Embeds them.
        on_error: Called for each image that cannot be read; the others are used.

    Returns:
        The statistics; None if no image could be read.
    """
    return statistics_of(_readable(images, on_error), navigator)


def statistics_of(images: Iterable[NDArray[np.uint8]], navigator: Navigator) -> Statistics | None:
    """Computes the statistics of images: of their embeddings and their textures.

    Args:
        images: Images (H, W, 3) uint8, RGB.
        navigator: Embeds them.

    Returns:
        The statistics; None without images.
    """
    looks = [(navigator.embed(rgb), texture(rgb)) for rgb in images]
    return Statistics.of(*(np.array(each) for each in zip(*looks, strict=True))) if looks else None


def _readable(files: Iterable[Path], on_error: Callable[[ImageError], None]) -> Iterator[NDArray[np.uint8]]:
    bit_depth = BitDepth()
    for file in files:
        try:
            yield read_rgb(file, bit_depth)
        except ImageError as error:
            on_error(error)


def write_statistics(statistics: Statistics, adapter: Path) -> None:
    """Writes the statistics into the folder of an adapter. The file is replaced only when the new one is complete.

    Raises:
        AdapterError: The file cannot be written.
    """
    file = statistics_file(adapter)
    try:
        with whole_file(file) as partial:
            save_statistics(statistics, partial)
        relist(file, AdapterError)
    except OSError as error:
        raise AdapterError(
            "statistics cannot be written", where=file, got=error.strerror or error,
            hint="Free space on the disk, or work on a copy of the library that is writable.",
        ) from error  # fmt: skip
