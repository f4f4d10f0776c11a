"""Published CLIP models become navigators that embed alike, or are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from open_clip.transform import image_transform
from PIL import Image
from tiny import image
from torch import Tensor

from semla_ros.errors import BundleError
from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.published import whole_clip
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.navigators.clip import ClipNavigator, from_published

TEXT = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
VISION = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 8}


def published(quick_gelu: bool = True) -> tuple[CLIP, dict[str, Tensor]]:
    torch.manual_seed(1)
    model = CLIP(16, dict(VISION), dict(TEXT), quick_gelu=quick_gelu).eval()
    for parameter in model.visual.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model, model.state_dict()


def config(quick_gelu: bool = True, vision: dict[str, Any] | None = None, **preprocess: Any) -> str:
    model = {"embed_dim": 16, "quick_gelu": quick_gelu, "vision_cfg": {**VISION, **(vision or {})}, "text_cfg": TEXT}
    return json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("size", [(32, 32), (32, 50), (31, 97), (480, 640), (97, 33), (30, 480), (1, 60), (20, 7)])
def test_embeddings_equal_open_clips(size: tuple[int, int], resize_mode: str, quick_gelu: bool, tmp_path: Path) -> None:
    model, state = published(quick_gelu)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    text = config(quick_gelu, resize_mode=resize_mode, mean=mean, std=std)
    (tmp_path / "open_clip_config.json").write_text(text)
    arch, ours = from_published(state, str(tmp_path / "clip.pt"))
    network = arch.build()
    network.load_state_dict(ours)
    rgb = image("green", 7, *size)
    preprocess = image_transform(32, False, mean, std, resize_mode, "bicubic")
    pixels = preprocess(Image.fromarray(rgb))
    navigator = ClipNavigator(network, arch)
    assert torch.equal(navigator.pixels(rgb), pixels)
    with torch.inference_mode():
        expected = model.visual(pixels[None])[0].double().numpy()
    assert navigator.embed(rgb) == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(expected) > 1


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_text_embeddings_equal_open_clips(quick_gelu: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    model = CLIP(16, dict(VISION), dict(text), quick_gelu=quick_gelu).eval()
    for parameter in model.transformer.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    described = json.loads(config(quick_gelu))
    described["model_cfg"]["text_cfg"] = text
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    published = whole_clip(model.state_dict(), str(tmp_path / "clip.pt"))
    network = Clip(published.vision, published.text, ()).eval()
    network.load_state_dict(published.state)
    tokens = tokenize(["a photo of a car", "a dog"], 16)
    with torch.inference_mode():
        expected = model.encode_text(tokens, normalize=True)
        assert torch.allclose(network.encode_text(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"vision": {"head_width": 16}}, {"quick_gelu": False}])
def test_another_head_width_or_activation_embeds_otherwise(wrong: dict[str, Any], tmp_path: Path) -> None:
    """Both must come from the configuration: the weights fit either way."""
    _, state = published()
    embeddings = []
    for text in (config(), config(**wrong)):
        (tmp_path / "open_clip_config.json").write_text(text)
        arch, ours = from_published(state, str(tmp_path / "clip.pt"))
        network = arch.build()
        network.load_state_dict(ours)
        embeddings.append(ClipNavigator(network, arch).embed(image("red")))
    assert np.abs(embeddings[0] - embeddings[1]).max() > 1e-3


def test_a_file_without_a_configuration_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"open_clip_config.json beside it.*--navigator-model"):
        from_published(published()[1], str(tmp_path / "clip.pt"))


def test_a_model_can_be_named_instead(tmp_path: Path) -> None:
    arch, _ = from_published(published()[1], str(tmp_path / "clip.pt"), "ViT-L-14-quickgelu")
    assert (arch.width, arch.heads, arch.activation) == (1024, 16, "quick_gelu")
    assert from_published(published()[1], "", "ViT-B-32")[0].activation == "gelu"
    with pytest.raises(BundleError, match=r"unknown model \(ViT-Z\)"):
        from_published(published()[1], "", "ViT-Z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "malformed configuration"),
        ("[]", "malformed configuration"),
        ('{"model_cfg": {"embed_dim": 16}}', "malformed configuration.*vision_cfg"),
        (config(vision={"head_width": 0}), "malformed configuration"),
        (config(vision={"patch_size": 0}), "malformed configuration.*patch_size 0"),
        ("[" * 100_000, "malformed configuration"),
        (config(vision={"head_width": 10}), "heads do not divide"),
        (config(vision={"pool_type": "avg", "no_ln_pre": True}), "unsupported kind of CLIP.*no_ln_pre, pool_type"),
        (config(vision={"timm_model_name": "vit"}), "unsupported kind of CLIP.*timm_model_name"),
        (config(interpolation="bilinear"), "unsupported kind of CLIP.*interpolation bilinear"),
        (config(resize_mode="longest"), "unknown resize_mode.*shortest or squash"),
    ],
)
def test_configurations_that_we_do_not_compute_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        from_published(published()[1], str(tmp_path / "clip.pt"))


def test_tensors_of_something_else_are_refused() -> None:
    with pytest.raises(BundleError, match=r"no CLIP vision transformer.*layer.weight"):
        from_published({"layer.weight": torch.ones(2)}, "clip.pt")
