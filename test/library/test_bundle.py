from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny import ARCH, CLASSES, NAVIGATOR, image, random_network

from semla_ros.errors import BundleError
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.bundle import DESCRIPTION, SEGMENTER, Bundle, Defaults, find_bundle
from semla_ros.library.bundle import NAVIGATOR as NAVIGATOR_FILE
from semla_ros.modeling.navigators.clip import ClipNavigator


def change_description(folder: Path, **changes: Any) -> None:
    tree = yaml.safe_load((folder / DESCRIPTION).read_text()) | changes
    (folder / DESCRIPTION).write_text(yaml.safe_dump({key: value for key, value in tree.items() if value is not None}))


def test_what_is_saved_is_opened_again(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert (opened.path, opened.segmenter, opened.navigator) == (bundle, ARCH, NAVIGATOR)
    assert (opened.about, opened.classes, opened.defaults) == ("random", CLASSES, Defaults(k=2))
    assert opened.colors == {name: CITYSCAPES_COLORS[name] for name in CLASSES}


def test_networks_come_back_from_half_precision_as_single(tmp_path: Path) -> None:
    network, navigator = random_network(), ClipNavigator(NAVIGATOR.build(), NAVIGATOR)
    Bundle(tmp_path, "half", ARCH, NAVIGATOR, CLASSES).save(network, navigator.network)
    opened = Bundle.open(tmp_path)
    loaded = opened.load_network()
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for ours, theirs in zip(loaded.parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())
    assert opened.load_navigator().embed(image("red")) == pytest.approx(navigator.embed(image("red")), abs=1e-2)


def test_half_precision_halves_the_files(bundle: Path, tmp_path: Path) -> None:
    navigator = NAVIGATOR.build()
    Bundle(tmp_path / "half", "half", ARCH, NAVIGATOR, CLASSES).save(random_network(), navigator)
    assert (tmp_path / "half" / SEGMENTER).stat().st_size < 0.55 * (bundle / SEGMENTER).stat().st_size


def test_its_classes_have_its_colours_and_others_can_be_asked_for(bundle: Path) -> None:
    change_description(bundle, classes={"road": [1, 2, 3], "sky": [4, 5, 6]})
    opened = Bundle.open(bundle)
    assert [(c.id, c.name, c.color) for c in opened.class_table()] == [(0, "road", (1, 2, 3)), (1, "sky", (4, 5, 6))]
    assert [(c.name, c.color) for c in opened.class_table(("sky", "road"))] == [("sky", (4, 5, 6)), ("road", (1, 2, 3))]


def test_defaults_may_be_left_out(bundle: Path) -> None:
    change_description(bundle, defaults=None)
    assert Bundle.open(bundle).defaults == Defaults(k=5, temperature=0.05)


def test_a_missing_folder_is_refused_naming_it(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle.*nowhere.*a folder with bundle\.yaml"):
        Bundle.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content", [b"", b"classes: [", b"\xff\xfe\x00", b"- 1", b"about: only", b"!!python/object/apply:os.abort []"]
)
def test_a_malformed_description_is_refused_naming_it(bundle: Path, content: bytes) -> None:
    (bundle / DESCRIPTION).write_bytes(content)
    with pytest.raises(BundleError, match=r"malformed bundle description.*bundle\.yaml"):
        Bundle.open(bundle)


@pytest.mark.parametrize("key", ["about", "segmenter", "navigator", "classes"])
def test_a_missing_entry_is_named(bundle: Path, key: str) -> None:
    change_description(bundle, **{key: None})
    with pytest.raises(BundleError, match=f"malformed bundle description.*'{key}'"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["road", "sky"]}, "malformed"),
        ({"classes": {"road": [1, 2]}}, "malformed"),
        ({"classes": {"road": None}}, "malformed"),
        ({"classes": {}}, "no classes"),
        ({"segmenter": {"kind": "catseg", "image_size": 32}}, r"architecture does not fit \(CatSegArch"),
        ({"segmenter": ARCH.to_dict() | {"kind": "unet"}}, "unknown kind of segmenter.*got unet, expected catseg"),
        ({"navigator": NAVIGATOR.to_dict() | {"kind": 3}}, "unknown kind of navigator.*got 3, expected clip"),
        ({"segmenter": ARCH.to_dict() | {"depth": 3}}, r"architecture does not fit \(CatSegArch.*depth"),
        ({"navigator": {"kind": "clip", "vision": {}}}, r"architecture does not fit \(ClipNavigatorArch"),
        ({"defaults": {"K": 5}}, r"unknown defaults.*bundle\.yaml.*got \['K'\]"),
        ({"defaults": {"k": 0}}, "defaults out of range"),
        ({"defaults": {"k": 2.5}}, "defaults out of range"),
        ({"defaults": {"k": "many"}}, "defaults out of range"),
        ({"defaults": {"temperature": 0}}, "defaults out of range"),
        ({"defaults": {"upper_threshold": -1}}, "defaults out of range"),
        ({"defaults": {"upper_threshold": "far"}}, "malformed"),
        ({"defaults": {"metric": "manhattan"}}, "unknown distance metric.*got 'manhattan', expected euclidean or"),
        ({"defaults": {"metric": ["cosine"]}}, "unknown distance metric"),
        ({"defaults": [5]}, "malformed"),
    ],
)
def test_an_unusable_entry_is_refused(bundle: Path, changes: dict[str, Any], said: str) -> None:
    change_description(bundle, **changes)
    with pytest.raises(BundleError, match=said):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"segmenter": ARCH.to_dict() | {"image_size": "large"}},
        {"segmenter": ARCH.to_dict() | {"vision_width": -4}},
        {"segmenter": ARCH.to_dict() | {"decoder_dims": [8, 8]}},
    ],
)
def test_sizes_that_make_no_network_are_refused(bundle: Path, changes: dict[str, Any]) -> None:
    change_description(bundle, **changes)
    with pytest.raises(BundleError, match=r"sizes that make no network.*bundle\.yaml"):
        Bundle.open(bundle).load_network()


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


def test_weights_for_other_sizes_are_refused_naming_a_tensor_and_both_shapes(bundle: Path) -> None:
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


def test_a_bundle_that_is_not_there_is_refused_saying_where_bundled_ones_lie() -> None:
    with pytest.raises(BundleError, match=r"no model bundle \(moonworld\).*bundle\.yaml.*models"):
        find_bundle("moonworld")
