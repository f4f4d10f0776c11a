"""Official formats to ours: names of CAT-Seg's, OpenAI's and open_clip's state dicts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.architecture import VIT_B16, VIT_L14_336, CatSegArch
from semla_ros.modeling.catseg import CatSeg
from semla_ros.modeling.segmenter import Segmenter

OFFICIAL_PREFIXES = {
    "sem_seg_head.predictor.clip_model.": "clip.",
    "sem_seg_head.predictor.transformer.": "aggregator.",
}
UNUSED = re.compile(r"logit_scale$|^(clip_)?pixel_(mean|std)$|^sem_seg_head\.predictor\.text_features")


def unused_keys(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Keys of an official state dict that are knowingly left out: preprocessing, and CLIP's training temperature."""
    return sorted(key for key in state_dict if UNUSED.search(key))


def our_name(official: str) -> str:
    """Name in `CatSeg` of an official module or parameter."""
    for prefix, ours in OFFICIAL_PREFIXES.items():
        if official.startswith(prefix):
            return ours + official[len(prefix) :]
    return official


def clip_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CLIP state dict of any flavour with one tensor a projection.

    Accepts PyTorch's fused ``in_proj_weight`` (OpenAI, open_clip), CAT-Seg's ``q_proj_weight`` and SemLA's
    ``q_proj.weight`` beside it; biases are always fused in those.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        stem, _, name = key.rpartition(".")
        if name in ("in_proj_weight", "in_proj_bias"):
            kind = name.removeprefix("in_proj_")
            out |= {f"{stem}.{part}_proj.{kind}": chunk for part, chunk in zip("qkv", value.chunk(3), strict=True)}
        elif name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            out[f"{stem}.{name.replace('_weight', '.weight')}"] = value
        else:
            out[key] = value
    return out


def architecture_of(state: Mapping[str, Tensor]) -> CatSegArch:
    """Recognises the published CAT-Seg models by their shapes.

    Raises:
        BundleError: Neither ViT-B/16 nor ViT-L/14@336.
    """
    shape = tuple(state["clip.visual.conv1.weight"].shape) if "clip.visual.conv1.weight" in state else None
    for arch in (VIT_B16, VIT_L14_336):
        if shape == (arch.vision_width, 3, arch.patch_size, arch.patch_size):
            return arch
    raise BundleError(
        "not an official CAT-Seg checkpoint", where="clip_model.visual.conv1.weight", got=shape,
        expected="(768, 3, 16, 16) of ViT-B/16 or (1024, 3, 14, 14) of ViT-L/14@336",
    )  # fmt: skip


def catseg_from_official(state_dict: Mapping[str, Tensor], classes: Sequence[str]) -> Segmenter:
    """Builds a segmenter from an official CAT-Seg state dict.

    Args:
        state_dict: Tensors of ``model_final.pth``'s ``model`` entry, or of SemLA's model.
        classes: Class names.

    Raises:
        BundleError: A tensor is missing, left over or of another shape.
    """
    unused = set(unused_keys(state_dict))
    used = {our_name(key): torch.as_tensor(value) for key, value in state_dict.items() if key not in unused}
    state = clip_state(used)
    network = CatSeg(architecture_of(state))
    load_strictly(network, state, "official CAT-Seg checkpoint")
    return Segmenter(network, classes)


def load_strictly(network: torch.nn.Module, state: Mapping[str, Tensor], where: object) -> None:
    """Fills a network, every tensor of both sides used.

    Raises:
        BundleError: Names the tensors that are missing, left over or of another shape.
    """
    expected = network.state_dict()
    wrong = [f"{key} missing" for key in expected.keys() - state.keys()]
    wrong += [f"{key} unknown" for key in state.keys() - expected.keys()]
    wrong += [
        f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise BundleError("weights do not fit", where=where, got=shown)
    network.load_state_dict(state)
