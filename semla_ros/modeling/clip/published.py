"""CLIP image and text encoders in open_clip's published form.

A state dict holds neither the number of attention heads nor the activation. With wrong ones it still loads, and embeds
wrongly, so both are read from the model's configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.clip.network import TextSizes
from semla_ros.modeling.clip.state import clip_state
from semla_ros.modeling.clip.tokenizer import TOKENS, tokenize
from semla_ros.modeling.clip.vision import VisionSizes
from semla_ros.modeling.weights import load_strictly

CONFIG = "open_clip_config.json"
SIZES = {"image_size", "patch_size", "width", "layers", "head_width"}
TEXT_SIZES = {"width", "layers", "heads", "context_length", "vocab_size"}
WITHOUT_EFFECT = {"patch_dropout", "output_tokens", "mlp_ratio"}  # in training only, or known from shapes
TEXTS = 32  # encoded at a time
UNUSED = {"logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size", "attn_mask"}
NEEDED = {"conv1.weight", "positional_embedding", "proj"}


def image_encoder(
    state: Mapping[str, Tensor], source: str, model: str = ""
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Takes the image encoder out of a CLIP.

    Args:
        state: Tensors of a CLIP in open_clip's layout, with or without its text encoder.
        source: File that they were read from. ``open_clip_config.json`` beside it describes the model.
        model: open_clip's name of the model, such as "ViT-L-14-quickgelu"; takes the place of that file.

    Returns:
        Sizes and preprocessing, by the field names of `semla_ros.modeling.navigators.clip.ClipNavigatorArch`, and the
        state dict of `semla_ros.modeling.clip.vision.VisionTransformer`.

    Raises:
        BundleError: The tensors are no CLIP vision transformer, the configuration is missing or malformed, or it asks
            for something that our network does not compute.
    """
    visual = {key.removeprefix("visual."): value.float() for key, value in state.items() if key.startswith("visual.")}
    if not visual.keys() >= NEEDED:
        raise BundleError(
            "no CLIP vision transformer", where=source, got=sorted(state)[:3], expected="visual.conv1.weight, ..."
        )
    return _fields(*_config(source, model)), clip_state(visual)


def _config(source: str, model: str) -> tuple[Any, str]:
    """Configuration of a CLIP, and the name of the model or of the file that it comes from."""
    return (_of_model(model), model) if model else (_beside(Path(source)), str(Path(source).with_name(CONFIG)))


def _of_model(name: str) -> dict[str, Any]:
    import open_clip

    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise BundleError("unknown model", where=name, expected="a name in open_clip.list_models()")
    return {"model_cfg": config}


def _beside(file: Path) -> Any:
    path = file.with_name(CONFIG)
    if not path.is_file():
        raise BundleError(
            "CLIP without a configuration", where=file, expected=f"{CONFIG} beside it",
            hint="Weights do not tell the attention heads nor the activation. Put the model's configuration there, or "
            "name the model (--navigator-model, --clip-model): ViT-L-14-quickgelu is OpenAI's, which SemLA uses.",
        )  # fmt: skip
    try:
        return json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise BundleError("malformed configuration", where=path, hint=str(error)) from error


def _fields(config: Any, where: str) -> dict[str, Any]:
    try:
        model, preprocess = config["model_cfg"], config.get("preprocess_cfg", {})
        vision = {"head_width": 64, **model["vision_cfg"]}  # open_clip's default
        sizes = {name: int(vision[name]) for name in SIZES}
        sizes["heads"] = sizes["width"] // sizes.pop("head_width")
        if sizes["patch_size"] < 1:
            raise ValueError(f"patch_size {sizes['patch_size']}")
        activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
        given = {key: preprocess[key] for key in ("mean", "std", "resize_mode") if key in preprocess}
        fields = {"embed_dim": int(model["embed_dim"]), **sizes, "activation": activation, **given}
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise BundleError("malformed configuration", where=where, hint=repr(error)) from error
    unsupported = sorted(vision.keys() - SIZES - WITHOUT_EFFECT)
    if preprocess.get("interpolation", "bicubic") != "bicubic":
        unsupported.append(f"interpolation {preprocess['interpolation']}")
    if unsupported:
        raise BundleError("unsupported kind of CLIP", where=where, got=", ".join(unsupported), expected="a plain ViT")
    return fields


def _text_sizes(config: Any, where: str) -> dict[str, int]:
    """Sizes of the text encoder, by the field names of `TextSizes`.

    Raises:
        BundleError: They are missing, or the encoder takes the tokens of another tokenizer than CLIP's.
    """
    try:
        text = config["model_cfg"]["text_cfg"]
        sizes = {name: int(text[name]) for name in TEXT_SIZES}
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError("malformed configuration", where=where, hint=repr(error)) from error
    unsupported = sorted(text.keys() - TEXT_SIZES)
    if sizes["vocab_size"] != TOKENS:
        unsupported.append(f"vocab_size {sizes['vocab_size']}")
    if unsupported:
        expected = f"CLIP's own, with a vocabulary of {TOKENS}"
        raise BundleError("unsupported text encoder", where=where, got=", ".join(unsupported), expected=expected)
    return sizes


@dataclass(frozen=True)
class PublishedClip:
    """A whole CLIP.

    Attributes:
        vision: Sizes of the image encoder, at the resolution that it was trained with.
        text: Sizes of the text encoder.
        state: State dict of `semla_ros.modeling.clip.network.Clip`.
        logit_scale: Factor of cosines that it was trained with.
    """

    vision: VisionSizes
    text: TextSizes
    state: Mapping[str, Tensor]
    logit_scale: float = 100.0


def whole_clip(state: Mapping[str, Tensor], source: str, model: str = "") -> PublishedClip:
    """Takes image and text encoder of a CLIP; arguments and errors as in `image_encoder`."""
    fields, visual = image_encoder(state, source, model)
    text = TextSizes(**_text_sizes(*_config(source, model)), activation=fields["activation"])
    grid = fields["image_size"] // fields["patch_size"]
    names = "image_size", "patch_size", "embed_dim", "width", "layers", "heads", "activation"
    vision = VisionSizes(**{name: fields[name] for name in names}, position_grid=grid)
    rest = {key: value.float() for key, value in state.items() if not key.startswith("visual.") and key not in UNUSED}
    ours = {f"visual.{key}": value for key, value in visual.items()} | clip_state(rest)
    scale = float(state["logit_scale"].float().exp()) if "logit_scale" in state else 100.0
    return PublishedClip(vision, text, ours, scale)


def text_encoder(
    state: Mapping[str, Tensor], source: str, model: str = ""
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """Takes the text encoder out of a CLIP.

    Args:
        state: Tensors of a whole CLIP in open_clip's layout.
        source: File that they were read from, see `image_encoder`.
        model: open_clip's name of the model, see `image_encoder`.

    Returns:
        Function from N texts to their L2-normalised embeddings (N, D).

    Raises:
        BundleError: The tensors are no such CLIP, or the configuration is missing or malformed.
    """
    from open_clip.model import CLIP

    config, where = _config(source, model)
    text = _text_sizes(config, where)
    try:
        described = config["model_cfg"]
        clip = CLIP(described["embed_dim"], described["vision_cfg"], text, described.get("quick_gelu", False))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError("malformed configuration", where=where, hint=repr(error)) from error
    load_strictly(clip, {key: value.float() for key, value in state.items()}, source)
    clip.eval()

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> NDArray[np.float64]:
        parts = tokenize(texts, clip.context_length).split(TEXTS)
        out: NDArray[np.float64] = (
            torch.cat([clip.encode_text(part, normalize=True) for part in parts]).double().numpy()
        )
        return out

    return encode
