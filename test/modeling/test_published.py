from __future__ import annotations

import pytest
import torch
from catseg_outputs import logits_of
from official import AGGREGATOR, CLIP, State, catseg_from_official, official_state
from tiny import ARCH, CLASSES, image, random_network

from semla_ros.errors import BundleError
from semla_ros.modeling.catseg.architecture import VIT_B16, VIT_L14_336
from semla_ros.modeling.catseg.published import architecture_of, our_name
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.weights import load_strictly

FIRST_QUERY = CLIP + "transformer.resblocks.0.attn."


@pytest.fixture(autouse=True)
def _tiny_sizes_are_official(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.modeling.catseg.published.VIT_B16", ARCH)


@pytest.fixture
def official() -> State:
    return official_state(random_network())


@pytest.fixture(scope="module")
def expected() -> CatSegSegmenter:
    return CatSegSegmenter(random_network(), CLASSES)


def same(one: CatSegSegmenter, other: CatSegSegmenter) -> bool:
    return bool((logits_of(one, image("red")) == logits_of(other, image("red"))).all())


def test_an_original_checkpoint_is_read(official: State, expected: CatSegSegmenter) -> None:
    assert FIRST_QUERY + "q_proj_weight" in official
    assert same(catseg_from_official(official, CLASSES), expected)


def test_a_state_with_every_projection_twice_is_read(official: State, expected: CatSegSegmenter) -> None:
    twice = {key.replace("_proj_weight", "_proj.weight"): value for key, value in official.items()}
    assert len(official | twice) > len(official)
    assert same(catseg_from_official(official | twice, CLASSES), expected)


def test_fused_projections_are_split(official: State, expected: CatSegSegmenter) -> None:
    for key in [key for key in official if key.endswith("q_proj_weight")]:
        stem = key.removesuffix("q_proj_weight")
        official[f"{stem}in_proj_weight"] = torch.cat([official.pop(f"{stem}{p}_proj_weight") for p in "qkv"])
    assert same(catseg_from_official(official, CLASSES), expected)


def test_a_missing_tensor_is_named(official: State) -> None:
    del official[FIRST_QUERY + "in_proj_bias"], official[AGGREGATOR + "head.bias"]
    with pytest.raises(
        BundleError, match=r"aggregator\.head\.bias missing; .*resblocks\.0\.attn\.k_proj\.bias missing"
    ):
        catseg_from_official(official, CLASSES)


def test_a_tensor_left_over_is_named(official: State) -> None:
    with pytest.raises(BundleError, match=r"got aggregator\.layers\.7\.weight unknown$"):
        catseg_from_official(official | {AGGREGATOR + "layers.7.weight": torch.zeros(3)}, CLASSES)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(official: State) -> None:
    official[AGGREGATOR + "head.bias"] = torch.zeros(2)
    with pytest.raises(BundleError, match=r"aggregator\.head\.bias \(2,\) instead of \(1,\)"):
        catseg_from_official(official, CLASSES)


def test_many_wrong_tensors_are_counted(official: State) -> None:
    few = {key: value for key, value in official.items() if "resblocks.0" not in key}
    with pytest.raises(BundleError, match=r"; and \d+ more$"):
        catseg_from_official(few, CLASSES)


@pytest.mark.parametrize("shape", [(768, 3, 32, 32), (640, 3, 16, 16)])
def test_another_backbone_is_refused_naming_the_known_ones(shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match=rf"got \({shape[0]}, 3, .*ViT-L/14@336"):
        architecture_of({"clip.visual.conv1.weight": torch.empty(shape)})


def test_a_file_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(BundleError, match="not an official CAT-Seg checkpoint"):
        catseg_from_official({"weight": torch.zeros(1)}, CLASSES)


def test_the_published_backbones_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for arch in (VIT_B16, VIT_L14_336):
        shape = arch.vision_width, 3, arch.patch_size, arch.patch_size
        assert architecture_of({"clip.visual.conv1.weight": torch.empty(shape)}) == arch


def test_official_module_names_become_ours() -> None:
    assert our_name(CLIP + "visual.proj") == "clip.visual.proj"
    assert our_name(AGGREGATOR + "layers.0.attention.MLP.0") == "aggregator.layers.0.attention.MLP.0"
    assert our_name("upsample1.weight") == "upsample1.weight"


def test_weights_that_do_not_fit_leave_the_network_unchanged() -> None:
    network = random_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    wrong = {key: torch.zeros_like(value) for key, value in before.items()}
    wrong.popitem()
    with pytest.raises(BundleError):
        load_strictly(network, wrong, "here")
    assert all((value == before[key]).all() for key, value in network.state_dict().items())
