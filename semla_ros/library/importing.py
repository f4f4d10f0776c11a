"""Makes a bundle of published files: a segmenter, a library of adapters and a navigator."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from semla_ros.adaptation.metrics import EUCLIDEAN
from semla_ros.errors import AdapterError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.adapter_folder import CONFIG, AdapterFolder, check_statistics
from semla_ros.library.archives import unpack
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.library.checkpoints import read_state
from semla_ros.library.library_folder import adapter_paths
from semla_ros.library.new_bundle import new_bundle
from semla_ros.library.published_navigator import published_navigator
from semla_ros.modeling.base import (
    DEFAULT_NAVIGATOR,
    DEFAULT_SEGMENTER,
    Architecture,
    SegmenterKind,
    linear_layers,
    navigator_kind,
    segmenter_kind,
)
from semla_ros.modeling.weights import load_strictly

LOG = logging.getLogger(__name__)


def import_models(
    segmenter: Path, library: Path, navigator: str, out: Path, segmenter_name: str = DEFAULT_SEGMENTER,
    navigator_name: str = DEFAULT_NAVIGATOR, navigator_model: str = "",
) -> Bundle:  # fmt: skip
    """Makes a bundle of published files. The networks are stored as float32, the adapters are copied unchanged.

    Args:
        segmenter: The segmenter's published checkpoint (.pth or .safetensors).
        library: Adapters in the layout of SemLA's ``loradb``, one folder per adapter; or a zip file of them.
        navigator: A file with the state dict of a CLIP; or "openai": open_clip then downloads ViT-L/14.
        out: Folder of the bundle, which must not exist. It appears when it is complete.
        segmenter_name: Kind of the segmenter, see `semla_ros.modeling.base.SEGMENTERS`.
        navigator_name: Kind of the navigator, see `semla_ros.modeling.base.NAVIGATORS`.
        navigator_model: Published name of the navigator's model; needed where no configuration lies beside its file.

    Returns:
        The bundle.

    Raises:
        BundleError: A checkpoint is damaged or of another architecture, a kind is unknown, or ``out`` exists.
        AdapterError: An adapter is damaged, or does not fit the segmenter, the navigator or the other adapters.
        ArchiveError: The zip file cannot be unpacked, see `semla_ros.library.archives.unpack`.
    """
    with new_bundle(out) as path:
        kind, guide = segmenter_kind(segmenter_name), navigator_kind(navigator_name)
        folders = _adapters(_unpacked(library, path.with_name(f"{path.name}.unpacked")), kind)
        arch, network = _segmenter(kind, segmenter)
        navigator_arch, encoder = published_navigator(guide, navigator, navigator_model)
        about = f"{segmenter_name} of {segmenter.name}"
        bundle = Bundle(path, about, arch, navigator_arch, tuple(CITYSCAPES_COLORS))
        bundle.save(network, encoder, torch.float32)
        for folder in folders:
            folder.check(linear_layers(network), dict(network.named_parameters()))
            check_statistics(folder.statistics, navigator_arch.embed_dim, EUCLIDEAN, folder.path)
            folder.copy_to(path / ADAPTERS / folder.name)
    return Bundle.open(out)


def _segmenter(kind: SegmenterKind, file: Path) -> tuple[Architecture, nn.Module]:
    state = read_state(file)
    arch, ours = kind.from_published(state)
    network = kind.network(arch)
    load_strictly(network, ours, file)
    LOG.info("%s: tensors that are not needed: %s", file, ", ".join(kind.unused_keys(state)) or "none")
    return arch, network


def _unpacked(library: Path, place: Path) -> Path:
    """Returns the folder of adapters. A zip file, unpacked to ``place``, may have one common folder around them."""
    if library.suffix != ".zip":
        return library
    folder = unpack(library, place)
    inner = adapter_paths(folder)
    if not inner:
        raise AdapterError("no adapters", where=library, got="a zip file without folders")
    return inner[0] if len(inner) == 1 and not (inner[0] / CONFIG).exists() else folder


def _adapters(library: Path, kind: SegmenterKind) -> list[AdapterFolder]:
    paths = adapter_paths(library) if library.is_dir() else []
    if not paths:
        raise AdapterError("no adapters", where=library, expected="one folder per adapter, as in SemLA's loradb")
    folders = [AdapterFolder(path, kind.module_name) for path in paths]
    for folder in folders[1:]:
        _check_agreement(folders[0], folder)
    return folders


def _check_agreement(one: AdapterFolder, other: AdapterFolder) -> None:
    """Compares the layer sizes of two adapters. Their ranks may differ."""
    for module in sorted(one.shapes.keys() & other.shapes.keys()):
        (mine, (rows, _)), (theirs, (other_rows, _)) = one.shapes[module], other.shapes[module]
        if (mine[1], rows) != (theirs[1], other_rows):
            raise AdapterError(
                f"adapters disagree on {module}", where=f"{one.path} and {other.path}",
                got=f"layers of {rows}x{mine[1]} and {other_rows}x{theirs[1]}",
                hint="They were trained on different base models.",
            )  # fmt: skip
