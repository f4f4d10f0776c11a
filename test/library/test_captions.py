from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semla_ros.errors import BundleError
from semla_ros.library.adapter_folder import read_statistics
from semla_ros.library.bundle import ADAPTERS, find_bundle
from semla_ros.library.captions import CAPTIONS, Caption, CaptionTable, vocabulary
from semla_ros.library.library_folder import adapter_paths

DAY, NIGHT = Caption("a street", "clear", "day", ""), Caption("a street", "clear", "night", "")
RAIN, CORRIDOR = Caption("a street", "rainy", "day", ""), Caption("a corridor", "", "", "")
TABLE = CaptionTable((DAY, NIGHT, RAIN, CORRIDOR), 3.0 * np.eye(4))


def test_a_caption_is_a_sentence_of_the_attributes_that_it_mentions() -> None:
    assert Caption("a street", "foggy", "dusk", "").text == "a photo of a street at dusk in foggy weather"
    assert Caption("a street", "", "", "badly overexposed").text == "a photo of a street badly overexposed"
    assert CORRIDOR.text == "a photo of a corridor"


def test_the_vocabulary_has_weather_and_time_outdoors_only_and_not_with_a_disturbed_view() -> None:
    captions = vocabulary(("a street", "a highway"), ("a room",))
    assert len(captions) == len(set(captions)) == 2 * (4 * 3 + 2) + 1 + 2
    assert {(each.weather, each.time) for each in captions if each.place == "a room" or each.view} == {("", "")}


def test_the_caption_of_the_nearest_direction_is_found_with_the_margin_of_each_attribute() -> None:
    found = TABLE.describe(np.array([2.0, 1.0, 0.5, 0.0]))
    length = 5.25**0.5
    assert found.caption == DAY
    assert found.score == pytest.approx(2 / length)
    assert found.margins == pytest.approx(
        {"time": 1 / length, "weather": 1.5 / length, "place": 2 / length, "view": 2 / length + 1}
    )


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    TABLE.save(tmp_path / "captions.npz")
    read = CaptionTable.load(tmp_path / "captions.npz")
    assert read.captions == TABLE.captions
    assert np.allclose(read.embeddings, np.eye(4))


def test_a_save_that_fails_keeps_the_captions_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(file: Any, **_: object) -> None:
        (Path(file) if isinstance(file, Path) else Path(file.name)).write_bytes(b"cut")
        raise KeyboardInterrupt

    TABLE.save(tmp_path / "captions.npz")
    monkeypatch.setattr(np, "savez_compressed", killed)
    with pytest.raises(KeyboardInterrupt):
        TABLE.save(tmp_path / "captions.npz")
    assert CaptionTable.load(tmp_path / "captions.npz").captions == TABLE.captions
    assert [path.name for path in tmp_path.iterdir()] == ["captions.npz"]


@pytest.mark.parametrize("left", [0, 50, -5])
def test_a_truncated_file_is_refused(tmp_path: Path, left: int) -> None:
    file = tmp_path / "captions.npz"
    TABLE.save(file)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(BundleError, match=r"unreadable captions \(.*captions.npz\)"):
        CaptionTable.load(file)


@pytest.mark.parametrize("embeddings", [np.ones((3, 2)), np.ones(4), np.full((4, 2), np.nan)])
def test_embeddings_that_do_not_belong_to_the_captions_are_refused(tmp_path: Path, embeddings: np.ndarray) -> None:
    columns = {name: np.array(["x"] * 4) for name in ("place", "weather", "time", "view")}
    np.savez(tmp_path / "captions.npz", embeddings=embeddings, **columns)
    with pytest.raises(BundleError, match=r"unreadable captions.*4 captions with embeddings of shape"):
        CaptionTable.load(tmp_path / "captions.npz")


def test_a_file_without_captions_is_refused(tmp_path: Path) -> None:
    columns = {name: np.array([], dtype="<U1") for name in ("place", "weather", "time", "view")}
    np.savez(tmp_path / "captions.npz", embeddings=np.ones((0, 2)), **columns)
    with pytest.raises(BundleError, match=r"unreadable captions.*0 captions"):
        CaptionTable.load(tmp_path / "captions.npz")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "captions.npz", place=np.array([{}], dtype=object))
    with pytest.raises(BundleError, match="unreadable captions"):
        CaptionTable.load(tmp_path / "captions.npz")


def test_a_small_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    columns = {name: np.array(["x"] * 4) for name in ("place", "weather", "time", "view")}
    np.savez_compressed(tmp_path / "captions.npz", embeddings=np.zeros((4, 2**23), np.float16), **columns)
    assert (tmp_path / "captions.npz").stat().st_size < 2**20
    with pytest.raises(BundleError, match=r"unreadable captions.*bytes when unpacked, more than 67108864"):
        CaptionTable.load(tmp_path / "captions.npz")


def test_a_centroid_of_another_navigator_is_refused() -> None:
    with pytest.raises(BundleError, match="captions of another navigator: got dimension 4, expected 5"):
        TABLE.describe(np.ones(5))


def test_most_centroids_of_the_bundled_library_are_described_in_the_right_words() -> None:
    bundle = find_bundle("streetworld")
    table = CaptionTable.load(bundle / CAPTIONS)
    texts = {
        path.name: table.describe(read_statistics(path).centroid).caption.text
        for path in adapter_paths(bundle / ADAPTERS)
    }
    right = {
        "clear_day": "a street on a clear day", "clear_night": "a street on a clear night",
        "rain_day": "a street on a rainy day", "rain_night": "a street on a rainy night",
        "fog_day": "a street on a foggy day", "fog_night": "a street on a foggy night",
        "snow_day": "a street on a snowy day", "snow_night": "a street on a snowy night",
        "dusk": "a street at dusk in clear weather", "forest": "a road through the woods on a clear day",
        "corridor": "a corridor inside a building", "dirty_lens": "a street through a dirty lens",
        "overexposed": "a street badly overexposed",
    }  # fmt: skip
    assert sum(texts[name] == f"a photo of {text}" for name, text in right.items()) >= 9, texts
