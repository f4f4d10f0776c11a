"""The published formats, made of tiny networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.published import from_published
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.lora import Adapter
from semla_ros.modeling.weights import load_strictly

CLIP, AGGREGATOR = "sem_seg_head.predictor.clip_model.", "sem_seg_head.predictor.transformer."
State = dict[str, Tensor]
VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8}
CLIP_CONFIG = {"model_cfg": {"embed_dim": 8, "quick_gelu": True, "vision_cfg": VISION}}


def published_encoder() -> nn.Module:
    """A tiny image encoder as open_clip publishes it, described by `CLIP_CONFIG`."""
    from open_clip.model import CLIP

    torch.manual_seed(5)
    text = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    visual: nn.Module = CLIP(8, dict(VISION), text, quick_gelu=True).visual
    return visual


def theirs(name: str) -> str:
    """Official name of one of our modules or parameters."""
    return name.replace("clip.", CLIP, 1) if name.startswith("clip.") else name.replace("aggregator.", AGGREGATOR, 1)


def official_state(network: CatSeg) -> State:
    """As in model_final.pth: query, key and value weights as parameters of their own, biases fused."""
    state: State = {
        CLIP + "logit_scale": torch.tensor(4.6),
        "pixel_mean": torch.zeros(3),
        "clip_pixel_std": torch.ones(3),
    }
    ours = network.state_dict()
    for name, value in ours.items():
        stem, kind = theirs(name).rsplit(".", 1)
        if stem.endswith("q_proj") and kind == "bias":
            parts = [ours[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            state[stem.removesuffix("q_proj") + "in_proj_bias"] = torch.cat(parts)
        elif stem.endswith(("q_proj", "k_proj", "v_proj")):
            state |= {f"{stem}_weight": value} if kind == "weight" else {}
        else:
            state[f"{stem}.{kind}"] = value
    return state


def write_official_adapter(folder: Path, adapter: Adapter, centroid: np.ndarray) -> None:
    """As in loradb: official module names, all of them listed, one key of statistics."""
    path = folder / adapter.name
    path.mkdir(parents=True)
    tensors: State = {}
    for module, (down, up) in adapter.factors.items():
        tensors[f"base_model.model.{theirs(module)}.lora_A.weight"] = down
        tensors[f"base_model.model.{theirs(module)}.lora_B.weight"] = up
    save_file(tensors, path / "adapter_model.safetensors")
    rank = next(iter(adapter.factors.values()))[0].shape[0]
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": [theirs(m) for m in adapter.factors],
    }
    (path / "adapter_config.json").write_text(json.dumps(config))
    np.savez(path / f"{adapter.name}_statistics.npz", train_average_embedding=centroid[None].astype(np.float32))


def write_official_files(folder: Path, network: CatSeg, navigator: nn.Module, adapters: Sequence[Adapter]) -> None:
    """Writes the files that a user downloads: model_final.pth, clip.safetensors and the folder loradb."""
    folder.mkdir(parents=True)
    torch.save({"model": official_state(network), "iteration": 3}, folder / "model_final.pth")
    state = {f"visual.{key}": value for key, value in navigator.state_dict().items()} | {"logit_scale": torch.ones(1)}
    save_file(state, folder / "clip.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(CLIP_CONFIG))
    for index, adapter in enumerate(adapters):
        write_official_adapter(folder / "loradb", adapter, np.full(8, 3.0 * index))


def catseg_from_official(state_dict: Mapping[str, Tensor], classes: Sequence[str]) -> CatSegSegmenter:
    """Builds a segmenter from a published state dict.

    Args:
        state_dict: As for `from_published`.
        classes: Class names.

    Raises:
        BundleError: A tensor is missing, left over or of another shape.
    """
    arch, state = from_published(state_dict)
    network = CatSeg(arch)
    load_strictly(network, state, "official CAT-Seg checkpoint")
    return CatSegSegmenter(network, classes)
