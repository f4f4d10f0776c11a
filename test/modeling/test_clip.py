from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from tiny import ARCH, random_network

from semla_ros.modeling.clip.network import Clip
from semla_ros.modeling.clip.state import clip_state
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.clip.vision import VisionTransformer

PROMPTS = ("a road", "a photo of a traffic light in the scene", "sky")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return random_network().clip


@pytest.fixture(scope="module")
def open_clip_model() -> CLIP:
    torch.manual_seed(2)
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8}
    text = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
    return CLIP(16, vision, text, quick_gelu=True).eval()


@pytest.fixture(scope="module")
def converted(open_clip_model: CLIP) -> Clip:
    clip = Clip(ARCH.vision, ARCH.text, ARCH.guidance_layers)
    state = {key: value for key, value in clip_state(open_clip_model.state_dict()).items() if key != "logit_scale"}
    clip.load_state_dict(state)
    return clip.eval()


@torch.inference_mode()
def test_the_text_encoder_equals_open_clips(converted: Clip, open_clip_model: CLIP) -> None:
    tokens = SimpleTokenizer(context_length=16)(list(PROMPTS))
    expected = open_clip_model.encode_text(tokens, normalize=True)
    assert torch.allclose(converted.encode_text(tokens), expected, atol=1e-6)


@torch.inference_mode()
def test_the_dense_image_encoder_equals_open_clips_up_to_the_last_block(converted: Clip, open_clip_model: CLIP) -> None:
    visual, pixels = open_clip_model.visual, torch.randn(2, 3, 32, 32)
    seen: list[torch.Tensor] = []
    hooks = [visual.transformer.resblocks[i].register_forward_hook(lambda _, __, out: seen.append(out)) for i in (0, 1)]
    visual(pixels)
    for hook in hooks:
        hook.remove()
    _, guidance = converted.visual(pixels)
    for ours, theirs in zip(guidance, seen, strict=True):
        assert torch.allclose(ours, theirs[:, 1:], atol=1e-5)


@pytest.mark.parametrize("gelu", [False, True])
@torch.inference_mode()
def test_the_class_tokens_embedding_equals_open_clips(gelu: bool) -> None:
    torch.manual_seed(3)
    vision = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8}
    text = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    theirs = CLIP(16, vision, text, quick_gelu=not gelu).visual.eval()
    ours = VisionTransformer(replace(ARCH.vision, activation="gelu" if gelu else "quick_gelu"))
    ours.load_state_dict(clip_state(theirs.state_dict()))
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours(pixels), theirs(pixels), atol=1e-6)


@torch.inference_mode()
def test_the_dense_last_block_adds_each_tokens_value_to_the_residual_of_the_class_token(clip: Clip) -> None:
    block, x = clip.visual.transformer.resblocks[-1], torch.randn(2, 17, 16)
    for token in (0, 5):
        value = block.attn.out_proj(block.attn.v_proj(block.ln_1(x[:, token]))) + x[:, 0]
        expected = value + block.mlp(block.ln_2(value))
        assert torch.allclose(block.dense(x)[:, token], expected, atol=1e-5)


@torch.inference_mode()
def test_the_prefix_tree_encodes_prompts_as_a_causal_mask_at_full_length_does(clip: Clip) -> None:
    tokens = tokenize(PROMPTS, 16)
    x = clip.token_embedding(tokens) + clip.positional_embedding
    causal = torch.ones(16, 16, dtype=torch.bool).tril()
    for block in clip.transformer.resblocks:
        x = block(x, causal)
    ends = clip.ln_final(x)[torch.arange(3), tokens.argmax(-1)]
    at_full_length = F.normalize(ends @ clip.text_projection, dim=-1)
    assert torch.allclose(clip.encode_text(tokens), at_full_length, atol=1e-6)
    tokens[:, -1] = 7
    assert torch.allclose(clip.encode_text(tokens), at_full_length, atol=1e-6)


@torch.inference_mode()
def test_the_embedding_of_a_prompt_does_not_depend_on_the_other_prompts(clip: Clip) -> None:
    together = clip.encode_text(tokenize(PROMPTS, 16))
    for index, prompt in enumerate(PROMPTS):
        assert torch.allclose(clip.encode_text(tokenize([prompt], 16))[0], together[index], atol=1e-6)


@torch.inference_mode()
def test_text_embeddings_have_unit_length_and_differ(clip: Clip) -> None:
    text = clip.encode_text(tokenize(PROMPTS, 16))
    assert torch.allclose(text.norm(dim=1), torch.ones(3), atol=1e-6)
    assert (text[0] - text[1]).norm() > 0.01


def test_a_prompt_longer_than_the_context_is_cut_and_keeps_its_end_token() -> None:
    tokens = tokenize(["a very " * 40 + "long road"], 16)
    assert tokens.shape == (1, 16)
    assert tokens.argmax().item() == 15


@torch.inference_mode()
def test_position_embeddings_are_resized_bicubically_except_for_the_class_tokens() -> None:
    vision = VisionTransformer(replace(ARCH.vision, position_grid=2))
    vision.positional_embedding.copy_(torch.randn(5, 16))
    positions = vision.positions()
    square = vision.positional_embedding[1:].T.reshape(1, 16, 2, 2)
    expected = F.interpolate(square, (4, 4), mode="bicubic", align_corners=False)
    assert (positions[0] == vision.positional_embedding[0]).all()
    for row in range(4):
        for column in range(4):
            assert torch.allclose(positions[1 + 4 * row + column], expected[0, :, row, column])
