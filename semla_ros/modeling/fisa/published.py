"""FISA of published parts: a mask generator and a CLIP. FISA's own weights were never published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.clip.published import PublishedClip
from semla_ros.modeling.clip.sizes import MAX_GRID
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.generator import check_config, generator_config, quiet_transformers
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.weights import load_strictly


def from_published(state: Mapping[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """Refuses a checkpoint: none of FISA was ever published.

    Raises:
        BundleError: Always.
    """
    raise BundleError(
        "no checkpoint of FISA was ever published", got=sorted(state)[:3],
        expected="its parts: --mask-generator and --clip",
    )  # fmt: skip


def from_parts(mask_generator: Path, clip: PublishedClip, image_size: int) -> tuple[FisaArch, Fisa]:
    """Makes a FISA whose SEVE is off, because it is untrained: the paper's frozen baseline.

    Args:
        mask_generator: Folder of a Mask2Former as transformers stores it.
        clip: A CLIP.
        image_size: Side of the square image that CLIP is shown, pixels; rounded to whole patches.

    Raises:
        BundleError: The folder holds no such generator, its weights do not fit its configuration, or the image size is
            smaller than a patch or larger than `MAX_GRID` patches.
    """
    vision, text = clip.vision, clip.text
    if not vision.patch_size <= image_size <= MAX_GRID * vision.patch_size:
        expected = f"{vision.patch_size} to {MAX_GRID * vision.patch_size} pixels"
        raise BundleError("image size that makes no network", where="--image-size", got=image_size, expected=expected)
    generator, size = _mask_generator(mask_generator)
    arch = FisaArch(
        image_size // vision.patch_size * vision.patch_size, vision.patch_size, vision.position_grid,
        vision.embed_dim, vision.width, vision.layers, vision.heads, text.width, text.layers, text.heads,
        seve_layers=(), generator=generator_config(generator.config), generator_short=size[0], generator_long=size[1],
        context_length=text.context_length, vocab_size=text.vocab_size, activation=vision.activation,
        logit_scale=clip.logit_scale, void="",
    )  # fmt: skip
    torch.manual_seed(0)  # SEVE's weights are random, and the same every time
    network = Fisa(arch)
    load_strictly(network.generator.model, generator.model.state_dict(), mask_generator)
    load_strictly(network.clip, clip.state, "CLIP")
    return arch, network


def _mask_generator(folder: Path) -> tuple[Any, tuple[int, int]]:
    """Loads a generator, and the short and the long side that its images are resized to."""
    if not (folder / "config.json").is_file():
        raise BundleError("no mask generator", where=folder, expected="a folder with config.json and model.safetensors")
    config = _json(folder / "config.json")
    kind = config.get("model_type")
    if kind != "mask2former":
        raise BundleError("another kind of mask generator", where=folder, got=kind, expected="mask2former")
    check_config(config)
    try:
        with quiet_transformers():
            model, report = _loaded(config, load_file(folder / "model.safetensors"))
            size = _input_size(folder / "preprocessor_config.json")
    except (BundleError, ModuleNotFoundError):
        raise
    except Exception as error:  # transformers raises errors of many types for values that do not fit
        raise BundleError("mask generator that cannot be loaded", where=folder, hint=str(error)) from error
    wrong = sorted(f"{key} missing" for key in report["missing_keys"])
    wrong += sorted(f"{key} {tuple(found)} in place of {tuple(size)}" for key, found, size in report["mismatched_keys"])
    if wrong:
        got = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise BundleError("weights of another mask generator", where=folder, got=got)
    return model, size


def _loaded(config: Mapping[str, Any], state: dict[str, Tensor]) -> tuple[Any, Any]:
    """Returns the model, and transformers' report of missing tensors.

    transformers is given values and tensors, not the folder: there it would follow files that name code, adapters or
    pickled parts of the weights.
    """
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    load: Any = Mask2FormerForUniversalSegmentation.from_pretrained
    return load(  # type: ignore[no-any-return]
        None, config=Mask2FormerConfig.from_dict(dict(config)), state_dict=state, output_loading_info=True,
        dtype=torch.float32, ignore_mismatched_sizes=True,
    )  # fmt: skip


def _input_size(file: Path) -> tuple[int, int]:
    """The short and the long side in the description of the preprocessing; those of the paper where it has none."""
    from transformers import Mask2FormerImageProcessor

    processor: Any = Mask2FormerImageProcessor
    size = processor.from_dict(_json(file)).size if file.is_file() else None
    short, long = (getattr(size, side, None) for side in ("shortest_edge", "longest_edge"))
    return short or 800, long or 1333


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError("mask generator that cannot be loaded", where=file, hint=str(error)) from error
    if not isinstance(content, dict):
        raise BundleError("mask generator that cannot be loaded", where=file, got=type(content).__name__)
    return content
