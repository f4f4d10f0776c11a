"""`semla models import`: the published CAT-Seg checkpoint, SemLA's adapters and a CLIP navigator as one bundle."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file
from torch import Tensor

from semla_ros.adapters import CONFIG, AdapterFolder
from semla_ros.archives import unpack
from semla_ros.bundle import ADAPTERS, Bundle
from semla_ros.checkpoints import catseg_from_official, load_strictly, unused_keys
from semla_ros.classes import CITYSCAPES_COLORS
from semla_ros.errors import AdapterError, BundleError
from semla_ros.modeling.navigator import Navigator, NavigatorArch

LOG = logging.getLogger(__name__)
OPENAI = "ViT-L-14"  # SemLA's navigator
HEAD_WIDTH = 64  # of every CLIP that OpenAI published


def import_models(segmenter: Path, library: Path, navigator: str, out: Path) -> Bundle:
    """Makes a bundle of official files. Weights stay float32; adapters are copied as they are.

    Args:
        segmenter: CAT-Seg's ``model_final.pth``, or its state dict as safetensors.
        library: SemLA's ``loradb``: one folder an adapter, or a zip of it.
        navigator: "openai" lets open_clip fetch ViT-L/14; otherwise a file with a CLIP's state dict.
        out: The bundle's folder, which must not exist. It appears only when it is complete.

    Raises:
        BundleError: A checkpoint is unreadable, half-written or of another architecture, or ``out`` exists.
        AdapterError: An adapter is damaged, or made for another segmenter or navigator than the others or these.
        ArchiveError: The zip is damaged, or would write outside its folder.
    """
    if out.exists():
        raise BundleError("the bundle exists already", where=out, hint="Choose another name.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        folders = _adapters(_unpacked(library, Path(place)))
        classes, state = tuple(CITYSCAPES_COLORS), read_state(segmenter)
        network = catseg_from_official(state, classes).network
        LOG.info("%s: all used but %s", segmenter, ", ".join(unused_keys(state)) or "nothing")
        guide = navigator_from(_openai() if navigator == "openai" else read_state(Path(navigator)), navigator)
        bundle = Bundle(Path(place, out.name), f"CAT-Seg of {segmenter.name}", network.arch, guide.arch, classes)
        bundle.save(network, guide.visual, torch.float32)
        for folder in folders:
            folder.check(network.linear_layers())
            _check_centroid(folder, guide.arch.embed_dim)
            shutil.copytree(folder.path, bundle.path / ADAPTERS / folder.name)
        bundle.path.rename(out)
    return Bundle.open(out)


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a PyTorch checkpoint, which is never unpickled freely.

    Raises:
        BundleError: Missing, truncated, or with anything but tensors in plain containers.
    """
    if not path.is_file():
        raise BundleError("no such file", where=path, expected="a .pth or .safetensors checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tree: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler stumbles over other people's bytes in any way
        raise BundleError(
            "unreadable checkpoint", where=path, got=type(error).__name__, expected="tensors in a .pth or .safetensors",
            hint="It is damaged or holds more than tensors; download it again.",
        ) from error  # fmt: skip
    tree = tree.get("model", tree.get("state_dict", tree)) if isinstance(tree, dict) else tree
    if not isinstance(tree, dict) or not all(isinstance(value, Tensor) for value in tree.values()):
        raise BundleError(
            "checkpoint is no state dict", where=path, got=type(tree).__name__, expected="names to tensors"
        )
    return tree


def navigator_from(state: Mapping[str, Tensor], where: object) -> Navigator:
    """The image encoder of a CLIP's state dict, its sizes read off the shapes.

    Raises:
        BundleError: It holds no CLIP vision transformer.
    """
    visual = {key.removeprefix("visual."): value.float() for key, value in state.items() if key.startswith("visual.")}
    if not {"conv1.weight", "positional_embedding", "proj"} <= visual.keys():
        raise BundleError(
            "no CLIP vision transformer", where=where, got=sorted(state)[:3], expected="visual.conv1.weight, ..."
        )
    width, _, patch, _ = visual["conv1.weight"].shape
    grid = round((len(visual["positional_embedding"]) - 1) ** 0.5)
    layers = len({key.split(".")[2] for key in visual if key.startswith("transformer.resblocks.")})
    vision = {
        "image_size": grid * patch,
        "patch_size": patch,
        "width": width,
        "layers": layers,
        "head_width": HEAD_WIDTH,
    }
    arch = NavigatorArch(visual["proj"].shape[1], vision)
    encoder = arch.build()
    load_strictly(encoder, visual, where)
    return Navigator(encoder, arch)


def _openai() -> dict[str, Tensor]:
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


def _adapters(library: Path) -> list[AdapterFolder]:
    paths = sorted(path for path in library.iterdir() if path.is_dir()) if library.is_dir() else []
    if not paths:
        raise AdapterError("no adapters", where=library, expected="a folder an adapter, as in SemLA's loradb")
    folders = [AdapterFolder(path) for path in paths]
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
