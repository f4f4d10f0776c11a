"""Makes a bundle of published parts: a mask generator, and a CLIP that is the navigator, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from semla_ros.errors import BundleError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.bundle import ADAPTERS, Bundle, Color, Defaults, find_bundle
from semla_ros.library.captions import copy_captions
from semla_ros.library.checkpoints import read_state
from semla_ros.library.new_bundle import new_bundle
from semla_ros.library.published_navigator import published_navigator
from semla_ros.modeling.base import DEFAULT_NAVIGATOR, SEGMENTERS, Architecture, navigator_kind, segmenter_kind
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.published import PublishedClip, whole_clip

FromParts = Callable[[Path, Any, int], tuple[Any, nn.Module]]  # see `semla_ros.modeling.base.SegmenterKind.from_parts`
# A CLIP, colours of the classes, the navigator, and the defaults that fit it.
WithNavigator = tuple[PublishedClip, Mapping[str, Color], tuple[Architecture, nn.Module], Defaults]


def import_parts(
    mask_generator: Path, clip: Path, out: Path, segmenter_name: str, image_size: int = 896, clip_model: str = "",
    logit_scale: float = 0,
) -> Bundle:  # fmt: skip
    """Makes a bundle of a published mask generator and a published CLIP, with an empty library of adapters.

    The image encoder of the CLIP is the navigator, too.

    Args:
        mask_generator: Folder of a mask generator as transformers stores it.
        clip: A file with the state dict of a CLIP; or a bundle, its folder or its name, whose segmenter contains one.
        out: Folder of the bundle, which must not exist. It appears when it is complete.
        segmenter_name: Kind of the segmenter, see `semla_ros.modeling.base.SEGMENTERS`.
        image_size: Side of the square image that CLIP is shown, pixels.
        clip_model: open_clip's name of the model; needed where no configuration lies beside its file.
        logit_scale: Factor of cosines before the softmax over classes; 0 takes that of the CLIP's file, or 100.

    Returns:
        The bundle.

    Raises:
        BundleError: A part is missing, damaged or of another architecture, the kind is not made of these parts, or
            ``out`` exists.
    """
    with new_bundle(out) as path:
        from_parts = _from_parts(segmenter_name)
        source = None if _is_state_dict(clip) else _bundle(clip)
        if source and clip_model:
            raise BundleError(
                "bundle with a model's name beside it", where=clip_model, hint="It describes its CLIP itself."
            )
        whole, colors, (navigator_arch, encoder), defaults = _clip_of(source) if source else _clip(clip, clip_model)
        whole = replace(whole, logit_scale=logit_scale or whole.logit_scale)
        arch, network = from_parts(mask_generator, whole, image_size)
        about = f"{segmenter_name} of {mask_generator.name} and {clip.name}, not trained together"
        (path / ADAPTERS).mkdir(parents=True)
        if source:
            copy_captions(source, path)
        bundle = Bundle(path, about, arch, navigator_arch, tuple(colors), colors, defaults)
        bundle.save(network, encoder, torch.float32)
    return Bundle.open(out)


def _from_parts(segmenter_name: str) -> FromParts:
    """Returns the function that makes a segmenter of the kind of its parts."""
    from_parts = segmenter_kind(segmenter_name).from_parts
    if from_parts is None:
        expected = " or ".join(f"--kind {name}" for name in SEGMENTERS if segmenter_kind(name).from_parts)
        hint = "Or give --segmenter a checkpoint in place of --mask-generator and --clip."
        raise BundleError("this kind is not made of parts", where=segmenter_name, expected=expected, hint=hint)
    return from_parts


def _is_state_dict(clip: Path) -> bool:
    return clip.is_file() or (clip.suffix != "" and not clip.is_dir())


def _bundle(clip: Path) -> Path:
    try:
        return find_bundle(str(clip))
    except BundleError as error:
        raise BundleError("no CLIP", where=clip, expected="a file with its state dict, or a model bundle") from error


def _clip(source: Path, model: str) -> WithNavigator:
    whole = whole_clip(read_state(source), str(source), model)
    navigator = published_navigator(navigator_kind(DEFAULT_NAVIGATOR), str(source), model)
    return whole, CITYSCAPES_COLORS, navigator, Defaults()


def _clip_of(source: Path) -> WithNavigator:
    bundle = Bundle.open(source)
    network: Any = bundle.load_network()
    if not isinstance(getattr(network, "clip", None), Clip):
        raise BundleError("segmenter without a CLIP", where=source, got=bundle.segmenter.kind)
    sizes: Any = bundle.segmenter
    scale = getattr(sizes, "logit_scale", PublishedClip.logit_scale)  # only some kinds of segmenters have one
    whole = PublishedClip(sizes.vision, sizes.text, network.clip.state_dict(), scale)
    colors = {each.name: each.color for each in bundle.class_table()}
    return whole, colors, (bundle.navigator, bundle.load_navigator().network), bundle.defaults
