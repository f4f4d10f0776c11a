from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import ARCH, CLASSES, NAVIGATOR, image, random_network, write_bundle
from torch import nn

from semla_ros.errors import BundleError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.bundle import DESCRIPTION, SEGMENTER, Bundle, Defaults, find_bundle
from semla_ros.library.bundle import NAVIGATOR as NAVIGATOR_FILE
from semla_ros.library.stored_network import stored_network
from semla_ros.modeling.navigators.clip import ClipNavigator


def change_description(folder: Path, **changes: Any) -> None:
    tree = yaml.safe_load((folder / DESCRIPTION).read_text()) | changes
    (folder / DESCRIPTION).write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))


def test_a_saved_bundle_is_opened_again(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert (opened.path, opened.segmenter, opened.navigator) == (bundle, ARCH, NAVIGATOR)
    assert (opened.about, opened.classes, opened.defaults) == ("random", CLASSES, Defaults(k=2))
    assert opened.colors == {name: CITYSCAPES_COLORS[name] for name in CLASSES}


def test_networks_are_loaded_from_float16_as_float32(tmp_path: Path) -> None:
    network, navigator = random_network(), ClipNavigator(NAVIGATOR.build(), NAVIGATOR)
    Bundle(tmp_path, "half", ARCH, NAVIGATOR, CLASSES).save(network, navigator.network)
    opened = Bundle.open(tmp_path)
    loaded = opened.load_network()
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for ours, theirs in zip(loaded.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())
    assert opened.load_navigator().embed(image("red")) == pytest.approx(navigator.embed(image("red")), abs=1e-2)


def test_all_files_of_a_saved_bundle_are_readable_by_those_who_may_read_new_files(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "tiny")
    (tmp_path / "new").touch()
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {oct(file.stat().st_mode) for file in files} == {oct((tmp_path / "new").stat().st_mode)}


def test_float16_halves_the_size_of_the_files(bundle: Path, tmp_path: Path) -> None:
    navigator = NAVIGATOR.build()
    Bundle(tmp_path / "half", "half", ARCH, NAVIGATOR, CLASSES).save(random_network(), navigator)
    assert (tmp_path / "half" / SEGMENTER).stat().st_size < 0.55 * (bundle / SEGMENTER).stat().st_size


def test_the_class_table_has_the_default_classes_or_the_given_ones(bundle: Path) -> None:
    change_description(bundle, classes={"road": [1, 2, 3], "sky": [4, 5, 6]})
    opened = Bundle.open(bundle)
    assert [(c.id, c.name, c.color) for c in opened.class_table()] == [(0, "road", (1, 2, 3)), (1, "sky", (4, 5, 6))]
    assert [(c.name, c.color) for c in opened.class_table(("sky", "road"))] == [("sky", (4, 5, 6)), ("road", (1, 2, 3))]


def test_defaults_may_be_left_out(bundle: Path) -> None:
    change_description(bundle, defaults=None)
    assert Bundle.open(bundle).defaults == Defaults(k=5, temperature=0.05)


def test_a_missing_folder_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle.*nowhere.*a folder with bundle\.yaml"):
        Bundle.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content", [b"", b"classes: [", b"\xff\xfe\x00", b"- 1", b"about: only", b"!!python/object/apply:os.abort []"]
)
def test_a_malformed_description_is_refused_with_its_path(bundle: Path, content: bytes) -> None:
    (bundle / DESCRIPTION).write_bytes(content)
    with pytest.raises(BundleError, match=r"malformed bundle description.*bundle\.yaml"):
        Bundle.open(bundle)


@pytest.mark.parametrize("key", ["segmenter", "navigator", "classes"])
def test_a_missing_entry_is_named(bundle: Path, key: str) -> None:
    change_description(bundle, **{key: None})
    with pytest.raises(BundleError, match=f"malformed bundle description.*'{key}'"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["road", "sky"]}, "wrong entry 'classes': got list, expected a mapping"),
        ({"classes": {}}, "no classes"),
        ({"classes": {True: [1, 2, 3]}}, "wrong class name: got True.*in quotes"),
        ({"classes": {" ": [1, 2, 3]}}, "wrong class name: got ' '"),
        ({"classes": {"road": [1, 2, 3], "road ": [4, 5, 6]}}, "class named twice.*'road'"),
        ({"segmenter": {"kind": "catseg", "image_size": 32}}, r"architecture does not fit \(CatSegArch"),
        ({"segmenter": ARCH.to_dict() | {"kind": "unet"}}, "unknown kind of segmenter.*got unet, expected catseg"),
        ({"navigator": NAVIGATOR.to_dict() | {"kind": 3}}, "unknown kind of navigator.*got 3, expected clip"),
        ({"segmenter": ARCH.to_dict() | {"depth": 3}}, r"architecture does not fit \(CatSegArch.*depth"),
        ({"navigator": {"kind": "clip", "vision": {}}}, r"architecture does not fit \(ClipNavigatorArch"),
        ({"defaults": {"temprature": 5}}, r"unknown setting \(temprature\): expected temperature"),
        ({"defaults": {"k": 0}}, r"out of range \(k\)"),
        ({"defaults": {"k": 2.5}}, r"wrong type \(k\)"),
        ({"defaults": {"k": "many"}}, r"wrong type \(k\)"),
        ({"defaults": {"temperature": 0}}, r"out of range \(temperature\)"),
        ({"defaults": {"temperature": float("nan")}}, r"out of range \(temperature\)"),
        ({"defaults": {"upper_threshold": -1}}, r"out of range \(upper_threshold\)"),
        ({"defaults": {"upper_threshold": "far"}}, r"wrong type \(upper_threshold\)"),
        ({"defaults": {"metric": "manhattan"}}, r"not among its choices \(metric\).*manhattan"),
        ({"defaults": {"metric": ["cosine"]}}, r"wrong type \(metric\)"),
        ({"defaults": [5]}, "wrong entry 'defaults': got list"),
    ],
)
def test_an_unusable_entry_is_refused(bundle: Path, changes: dict[str, Any], message: str) -> None:
    change_description(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "color", [[1, 2], [1, 2, 3, 4], None, "red", [0, 0, 256], [-1, 0, 0], [0.5, 0, 0], [True, 0, 0]]
)
def test_a_color_that_is_not_three_bytes_is_refused_with_its_class(bundle: Path, color: object) -> None:
    change_description(bundle, classes={"road": [0, 0, 255], "sky": color})
    with pytest.raises(
        BundleError, match=r"bundle\.yaml.*wrong colour \(class sky\).*expected \[red, green, blue\], 0 to 255"
    ):
        Bundle.open(bundle)


def test_a_class_that_is_described_twice_is_refused(bundle: Path) -> None:
    text = (bundle / DESCRIPTION).read_text()
    (bundle / DESCRIPTION).write_text(text.replace("  sky:", "  road:"))
    with pytest.raises(BundleError, match="key 'road' appears twice"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
        "segmenter: " + "[" * 50_000,
    ],
)
def test_a_description_that_would_grow_without_bound_is_refused(bundle: Path, text: str) -> None:
    (bundle / DESCRIPTION).write_text(text)
    with pytest.raises(BundleError, match=r"malformed bundle description.*(aliases are not allowed|nested deeper)"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("image_size", "large", "a whole number from 1"),
        ("image_size", True, "a whole number from 1"),
        ("image_size", [32, 32], "a whole number from 1"),
        ("vision_width", -4, "a whole number from 1"),
        ("vision_width", 10**9, "to 1000000"),
        ("vision_heads", 0, "a whole number from 1"),
        ("vision_heads", 3, None),
        ("text_heads", 3, None),
        ("aggregator_heads", 5, None),
        ("text_layers", 10**6, "to 200"),
        ("window", 3, None),
        ("patch_size", 64, "1 to 128 patches per side"),
        ("image_size", 2048, "1 to 128 patches per side"),
        ("vocab_size", 1000, "49408, the tokens of CLIP's tokenizer"),
        ("context_length", 2, "at least 3"),
        ("guidance_layers", [1, 2], "below 2"),
        ("guidance_layers", [1, 0], "two layers in order"),
        ("guidance_layers", 1, "two whole numbers"),
        ("decoder_dims", [8, 8], "multiples of 16"),
        ("decoder_dims", [16], "two whole numbers"),
        ("pooling", 0, "a whole number from 1"),
        ("pooling", 8, "at most 4"),
    ],
)
def test_sizes_that_make_no_network_are_refused(bundle: Path, name: str, value: object, expected: str | None) -> None:
    change_description(bundle, segmenter=ARCH.to_dict() | {name: value})
    with pytest.raises(BundleError, match=rf"bundle\.yaml.*sizes that make no network.*{expected or 'a multiple of'}"):
        Bundle.open(bundle)


def test_a_window_whose_masks_would_fill_the_memory_is_refused(bundle: Path) -> None:
    large = {"image_size": 128 * ARCH.patch_size, "window": 32}
    change_description(bundle, segmenter=ARCH.to_dict() | large)
    with pytest.raises(BundleError, match=r"sizes that make no network \(window\): got 32, expected at most 8 for 128"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("name", "value"),
    [("mean", [0.5]), ("mean", ["a", "b", "c"]), ("std", [0, 0, 0]), ("std", [1, 1, math.nan]), ("mean", None)],
)
def test_a_normalisation_that_is_no_three_numbers_is_refused(bundle: Path, name: str, value: object) -> None:
    change_description(bundle, navigator=NAVIGATOR.to_dict() | {name: value})
    with pytest.raises(BundleError, match=rf"bundle\.yaml.*impossible {name} .*expected three numbers"):
        Bundle.open(bundle)


def test_a_size_whose_name_is_a_number_is_refused(bundle: Path) -> None:
    change_description(bundle, segmenter=ARCH.to_dict() | {3: 4})
    with pytest.raises(BundleError, match=r"bundle\.yaml"):
        Bundle.open(bundle)


def test_huge_sizes_are_compared_with_the_weights_before_memory_is_taken(bundle: Path) -> None:
    change_description(bundle, segmenter=ARCH.to_dict() | {"vision_width": 1_000_000, "text_width": 1_000_000})
    with pytest.raises(BundleError, match=r"weights do not fit.*\(16,\) instead of \(1000000,\)"):  # 4 TB per matrix
        load(bundle, SEGMENTER)


def test_a_network_of_many_more_layers_than_the_weights_is_not_built(bundle: Path) -> None:
    change_description(bundle, navigator=NAVIGATOR.to_dict() | {"layers": 10**6})
    with pytest.raises(BundleError, match=r"description of a larger network .*navigator\.safetensors"):
        load(bundle, NAVIGATOR_FILE)


def test_weights_of_whole_numbers_are_refused(bundle: Path) -> None:
    state = load_file(bundle / SEGMENTER)
    save_file({key: tensor.to(torch.int32) for key, tensor in state.items()}, bundle / SEGMENTER)
    with pytest.raises(BundleError, match=r"weights of another type.*segmenter\.safetensors"):
        load(bundle, SEGMENTER)


def test_a_header_with_sizes_beyond_64_bits_is_refused(bundle: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [0, 2**40, 2**40], "data_offsets": [0, 0]}}).encode()
    (bundle / SEGMENTER).write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(BundleError, match=r"unreadable weights.*segmenter\.safetensors"):
        load(bundle, SEGMENTER)


def test_a_loaded_network_does_not_depend_on_its_file(bundle: Path) -> None:
    network = Bundle.open(bundle).load_network()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    size = (bundle / SEGMENTER).stat().st_size
    with (bundle / SEGMENTER).open("r+b") as file:  # in place, so that a mapping of the file would change
        file.write(bytes(size))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


class WithConstant(nn.Linear):
    """A network with a tensor that is not in its state dict."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("constant", torch.arange(3.0), persistent=False)


def test_a_network_is_loaded_without_pytorchs_compiler(bundle: Path) -> None:
    """Arithmetic on the meta device imports 900 modules, several times as many seconds as the network takes."""
    code = f"""
import sys, torch
from pathlib import Path
from torch import nn
from semla_ros.library.stored_network import stored_network
before = set(sys.modules)
build = lambda: nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 3), nn.LayerNorm(3))
from safetensors.torch import save_file
save_file(build().state_dict(), {str(bundle / "weights.safetensors")!r})
stored_network(build, Path({str(bundle / "weights.safetensors")!r}))
print(*(set(sys.modules) - before))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name for name in out.stdout.split() if name.startswith(("sympy", "torch._dynamo", "torch._refs"))}


def test_tensors_outside_the_state_dict_keep_their_values(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2, 2), "bias": torch.zeros(2)}, tmp_path / "weights.safetensors")
    network = stored_network(WithConstant, tmp_path / "weights.safetensors")
    assert network.constant.tolist() == [0, 1, 2]
    assert network.weight.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("vision", [{}, {"image_size": 16, "depth": 3}, {"width": 16}])
def test_a_navigator_that_cannot_be_built_is_refused(bundle: Path, vision: dict[str, Any]) -> None:
    change_description(bundle, navigator=NAVIGATOR.to_dict() | {"vision": vision})
    with pytest.raises(BundleError):
        Bundle.open(bundle).load_navigator()


def load(bundle: Path, file: str) -> None:
    opened = Bundle.open(bundle)
    opened.load_network() if file == SEGMENTER else opened.load_navigator()


@pytest.mark.parametrize("file", [SEGMENTER, NAVIGATOR_FILE])
def test_missing_weights_are_named(bundle: Path, file: str) -> None:
    (bundle / file).unlink()
    with pytest.raises(BundleError, match=f"unreadable weights.*{file}"):
        load(bundle, file)


@pytest.mark.parametrize("file", [SEGMENTER, NAVIGATOR_FILE])
@pytest.mark.parametrize("left", [0, 5, 1000, -1])
def test_truncated_weights_are_named(bundle: Path, file: str, left: int) -> None:
    (bundle / file).write_bytes((bundle / file).read_bytes()[:left])
    with pytest.raises(BundleError, match=f"unreadable weights.*{file}"):
        load(bundle, file)


def test_weights_of_other_sizes_are_refused_with_a_tensor_and_both_shapes(bundle: Path) -> None:
    change_description(bundle, segmenter=ARCH.to_dict() | {"guidance_dim": 12})
    with pytest.raises(BundleError, match=r"do not fit.*guidance_projection\.0\.bias \(8,\) instead of \(12,\)"):
        load(bundle, SEGMENTER)


def test_weights_of_more_layers_are_refused(bundle: Path) -> None:
    change_description(bundle, segmenter=ARCH.to_dict() | {"text_layers": 1})
    with pytest.raises(BundleError, match=r"transformer\.resblocks\.1\.\S+ unknown"):
        load(bundle, SEGMENTER)


def test_a_bundle_is_found_by_its_folder_and_a_bundled_one_by_its_name(bundle: Path) -> None:
    assert find_bundle(str(bundle)) == bundle
    streetworld = find_bundle("streetworld")
    assert (streetworld.name, streetworld.parent.name) == ("streetworld", "models")


def test_an_unknown_bundle_is_refused_with_the_names_of_the_existing_ones(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    shutil.copytree(bundle, tmp_path / "bundles/official")
    with pytest.raises(BundleError, match=r"no model bundle \(moonworld\).*installed bundle: official, streetworld$"):
        find_bundle("moonworld")


def test_a_downloaded_bundle_is_found_by_its_name(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMLA_CACHE", str(tmp_path))
    shutil.copytree(bundle, tmp_path / "bundles/official")
    assert find_bundle("official") == tmp_path / "bundles/official"


def test_a_path_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(BundleError, match="no model bundle"):
        find_bundle("~nobody-of-this-name/bundle")
