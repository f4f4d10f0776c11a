from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semla_ros.errors import BundleError
from semla_ros.library.captions import Caption, CaptionTable, vocabulary

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


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "captions.npz", place=np.array([{}], dtype=object))
    with pytest.raises(BundleError, match="unreadable captions"):
        CaptionTable.load(tmp_path / "captions.npz")


def test_a_centroid_of_another_navigator_is_refused() -> None:
    with pytest.raises(BundleError, match="captions of another navigator: got dimension 4, expected 5"):
        TABLE.describe(np.ones(5))
