"""`semla models import`: a published segmenter, SemLA's adapters and a navigator as one bundle."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from semla_ros.errors import AdapterError, BundleError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.adapter_folder import CONFIG, AdapterFolder
from semla_ros.library.archives import unpack
from semla_ros.library.bundle import ADAPTERS, Bundle
from semla_ros.library.checkpoints import read_state
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
OPENAI = "ViT-L-14-quickgelu"  # open_clip's name of SemLA's navigator


def import_models(
    segmenter: Path, library: Path, navigator: str, out: Path, segmenter_name: str = DEFAULT_SEGMENTER,
    navigator_name: str = DEFAULT_NAVIGATOR, navigator_model: str = "",
) -> Bundle:  # fmt: skip
    """Makes a bundle of official files. Weights stay float32; adapters are copied as they are.

    Args:
        segmenter: CAT-Seg's ``model_final.pth``, or its state dict as safetensors.
        library: SemLA's ``loradb``: one folder an adapter, or a zip of it.
        navigator: "openai" lets open_clip fetch ViT-L/14; otherwise a file with a CLIP's state dict.
        out: The bundle's folder, which must not exist. It appears only when it is complete.
        segmenter_name: Kind of the segmenter, see `semla_ros.modeling.base.SEGMENTERS`.
        navigator_name: Kind of the navigator, see `semla_ros.modeling.base.NAVIGATORS`.
        navigator_model: Published name of the navigator's model; needed where no configuration lies beside its file.

    Raises:
        BundleError: A checkpoint is unreadable, half-written or of another architecture, or ``out`` exists.
        AdapterError: An adapter is damaged, or made for another segmenter or navigator than the others or these.
        ArchiveError: The zip is damaged, or would write outside its folder.
    """
    if out.exists():
        raise BundleError("the bundle exists already", where=out, hint="Choose another name.")
    out.parent.mkdir(parents=True, exist_ok=True)
    kind = segmenter_kind(segmenter_name)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        folders = _adapters(_unpacked(library, Path(place)), kind)
        state = read_state(segmenter)
        arch, network = _segmenter(kind, state, segmenter)
        LOG.info("%s: all used but %s", segmenter, ", ".join(kind.unused_keys(state)) or "nothing")
        navigator_arch, encoder = _navigator(navigator, navigator_name, navigator_model)
        about = f"{segmenter_name} of {segmenter.name}"
        bundle = Bundle(Path(place, out.name), about, arch, navigator_arch, tuple(CITYSCAPES_COLORS))
        bundle.save(network, encoder, torch.float32)
        for folder in folders:
            folder.check(linear_layers(network))
            _check_centroid(folder, navigator_arch.embed_dim)
            shutil.copytree(folder.path, bundle.path / ADAPTERS / folder.name)
        bundle.path.rename(out)
    return Bundle.open(out)


def _segmenter(kind: SegmenterKind, state: Mapping[str, Tensor], where: Path) -> tuple[Architecture, nn.Module]:
    arch, ours = kind.from_published(state)
    network = kind.network(arch)
    load_strictly(network, ours, where)
    return arch, network


def _navigator(source: str, name: str, model: str) -> tuple[Any, nn.Module]:
    kind = navigator_kind(name)
    published = (_openai(), source, OPENAI) if source == "openai" else (read_state(Path(source)), source, model)
    arch, ours = kind.from_published(*published)
    encoder = kind.network(arch)
    load_strictly(encoder, ours, source)
    return arch, encoder


def _openai() -> dict[str, Tensor]:
    import open_clip

    try:
        model = open_clip.create_model(OPENAI, pretrained="openai")
    except Exception as error:  # whatever the network or the hub raises
        raise BundleError(
            "cannot fetch the navigator", where=f"open_clip {OPENAI}, openai", got=type(error).__name__,
            hint="Offline, give --navigator a file with that model's state dict.",
        ) from error  # fmt: skip
    state: dict[str, Tensor] = model.state_dict()
    return state


def _unpacked(library: Path, place: Path) -> Path:
    """The library's folder; a zip is unpacked first, whatever single folder its adapters lie in."""
    if library.suffix != ".zip":
        return library
    folder = unpack(library, place / "library")
    if not folder.is_dir():
        raise AdapterError("no adapters", where=library, got="an empty zip")
    inner = list(folder.iterdir())
    return inner[0] if len(inner) == 1 and not (inner[0] / CONFIG).exists() else folder


def _adapters(library: Path, kind: SegmenterKind) -> list[AdapterFolder]:
    paths = sorted(path for path in library.iterdir() if path.is_dir()) if library.is_dir() else []
    if not paths:
        raise AdapterError("no adapters", where=library, expected="a folder an adapter, as in SemLA's loradb")
    folders = [AdapterFolder(path, kind.module_name) for path in paths]
    for folder in folders[1:]:
        _check_agreement(folders[0], folder)
    return folders


def _check_agreement(one: AdapterFolder, other: AdapterFolder) -> None:
    """Ranks may differ; what the adapters are put on may not."""
    for module in sorted(one.shapes.keys() & other.shapes.keys()):
        (mine, (rows, _)), (theirs, (other_rows, _)) = one.shapes[module], other.shapes[module]
        if (mine[1], rows) != (theirs[1], other_rows):
            raise AdapterError(
                f"adapters disagree on {module}", where=f"{one.path} and {other.path}",
                got=f"a {rows}x{mine[1]} layer and a {other_rows}x{theirs[1]} one",
                hint="They were trained on different base models.",
            )  # fmt: skip


def _check_centroid(folder: AdapterFolder, dimension: int) -> None:
    found = len(folder.statistics.centroid)
    if found != dimension:
        raise AdapterError(
            "centroid of another navigator", where=folder.path, got=f"dimension {found}", expected=dimension
        )
