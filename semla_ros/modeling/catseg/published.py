"""CAT-Seg's published checkpoints: names of their tensors, sizes, and conversion to our network."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.catseg.architecture import VIT_B16, VIT_L14_336, CatSegArch
from semla_ros.modeling.clip.state import clip_state

OFFICIAL_PREFIXES = {
    "sem_seg_head.predictor.clip_model.": "clip.",
    "sem_seg_head.predictor.transformer.": "aggregator.",
}
UNUSED = re.compile(r"logit_scale$|^(clip_)?pixel_(mean|std)$|^sem_seg_head\.predictor\.text_features")


def unused_keys(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Returns the keys of an official state dict that are not needed: preprocessing, CLIP's training temperature."""
    return sorted(key for key in state_dict if UNUSED.search(key))


def our_name(official: str) -> str:
    """Returns the name in `CatSeg` of an official module or parameter."""
    for prefix, ours in OFFICIAL_PREFIXES.items():
        if official.startswith(prefix):
            return ours + official[len(prefix) :]
    return official


def architecture_of(state: Mapping[str, Tensor]) -> CatSegArch:
    """Recognises a published CAT-Seg model by the shapes of its tensors.

    Raises:
        BundleError: It is neither ViT-B/16 nor ViT-L/14@336.
    """
    shape = tuple(state["clip.visual.conv1.weight"].shape) if "clip.visual.conv1.weight" in state else None
    for arch in (VIT_B16, VIT_L14_336):
        if shape == (arch.vision_width, 3, arch.patch_size, arch.patch_size):
            return arch
    raise BundleError(
        "not an official CAT-Seg checkpoint", where="clip_model.visual.conv1.weight", got=shape,
        expected="(768, 3, 16, 16) of ViT-B/16 or (1024, 3, 14, 14) of ViT-L/14@336",
    )  # fmt: skip


def from_published(state_dict: Mapping[str, Tensor]) -> tuple[CatSegArch, dict[str, Tensor]]:
    """Converts a published state dict.

    Args:
        state_dict: Tensors of the ``model`` entry of ``model_final.pth``, or of SemLA's model.

    Returns:
        The architecture, recognised by the shapes, and the state dict of our `CatSeg`.

    Raises:
        BundleError: It is neither ViT-B/16 nor ViT-L/14@336.
    """
    unused = set(unused_keys(state_dict))
    state = clip_state(
        {our_name(key): torch.as_tensor(value) for key, value in state_dict.items() if key not in unused}
    )
    return architecture_of(state), state
