from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from paths import CONFIG

from semla_ros.config import Config, FusionConfig, changed, load, walk
from semla_ros.errors import ConfigError


def test_paths_are_walked_in_the_order_of_the_dataclasses() -> None:
    paths = [path for path, _, _ in walk(Config())]
    assert paths[:3] == ["model.bundle", "model.device", "model.precision"]
    assert paths[-1] == "gaps.images"
    assert paths.index("segmenter.mode") < paths.index("navigator.period_s") < paths.index("tracker.upper_threshold")


def test_each_setting_has_a_description_and_a_default_within_its_range() -> None:
    for path, spec, value in walk(Config()):
        assert spec.metadata["doc"], path
        assert changed(Config(), {path: value}) == Config()


def test_changing_settings_returns_a_copy_and_keeps_all_other_fields() -> None:
    old = Config()
    new = changed(old, {"fusion.k": 3, "tracker.debounce_s": 2.5})
    assert (new.fusion.k, new.tracker.debounce_s) == (3, 2.5)
    assert old == Config()
    assert changed(new, {"fusion.k": 0, "tracker.debounce_s": old.tracker.debounce_s}) == old


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().fusion.k = 3  # type: ignore[misc]


def test_a_whole_number_is_accepted_for_a_float_setting() -> None:
    value = changed(Config(), {"tracker.debounce_s": 2}).tracker.debounce_s
    assert value == 2.0
    assert type(value) is float


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("fusion.k", 2.5, r"wrong type \(fusion.k\): got 2.5, expected int"),
        ("fusion.k", True, "got True, expected int"),
        ("fusion.k", "3", "got '3', expected int"),
        ("fusion.k", None, "got None, expected int"),
        ("fusion.adapt", 1, "got 1, expected bool"),
        ("tracker.debounce_s", True, "got True, expected float"),
        ("tracker.debounce_s", "1", "got '1', expected float"),
        ("segmenter.classes", "road", "got 'road', expected a list of strings"),
        ("segmenter.classes", ["road", 3], "expected a list of strings"),
        ("segmenter.classes", ("road", 3), "expected a list of strings"),
        ("model.bundle", ["a"], "expected str"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_name_of_the_setting(path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        changed(Config(), {path: value})
    assert path in str(error.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("fusion.k", -1),
        ("fusion.k", 1001),
        ("tracker.min_weight_change", 2.1),
        ("tracker.min_weight_change", -0.1),
        ("tracker.upper_threshold", float("nan")),
        ("tracker.upper_threshold", float("inf")),
        ("segmenter.min_confidence", 1.0001),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(path: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"out of range \({path}\): got {value}, expected \S+ (to|or) \S+"):
        changed(Config(), {path: value})


@pytest.mark.parametrize(
    ("path", "value"), [("fusion.k", 1000), ("tracker.min_weight_change", 2.0), ("tracker.min_weight_change", 0.0)]
)
def test_both_ends_of_a_range_are_allowed(path: str, value: float) -> None:
    changed(Config(), {path: value})


@pytest.mark.parametrize(
    ("value", "got"), [(10**400, "inf"), (-(10**400), "-inf"), ("1e999", "inf")], ids=["above", "below", "text"]
)
def test_a_number_too_large_for_a_float_setting_is_out_of_range(value: Any, got: str) -> None:
    with pytest.raises(ConfigError, match=rf"out of range \(tracker.debounce_s\): got {got}, expected 0.0 to 3600.0"):
        changed(Config(), {"tracker.debounce_s": value})


def test_a_limit_on_one_side_is_named_in_words() -> None:
    with pytest.raises(ConfigError, match=r"got -1.0, expected 0.0 or more"):
        changed(Config(), {"tracker.upper_threshold": -1})


def test_a_value_that_is_not_a_choice_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"model.device.*got 'tpu', expected auto \| cpu \| cuda"):
        changed(Config(), {"model.device": "tpu"})


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("fusion.kk", "fusion.k"),
        ("tracker.debounce", "tracker.debounce_s"),
        ("segmenter.prompt_template", "segmenter.prompt_templates"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_known_ones(path: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown setting \({path}\): expected {nearest}( or |$)"):
        changed(Config(), {path: 3})


def test_all_unknown_settings_are_named_at_once() -> None:
    expected = r"unknown settings \(fusion\.kk, tracker\.debounce\): expected fusion\.k.*; tracker\.debounce_s"
    with pytest.raises(ConfigError, match=expected):
        changed(Config(), {"fusion.kk": 3, "fusion.k": 2, "tracker.debounce": 1.0})


def test_an_unknown_setting_that_resembles_none_is_refused_with_all() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting \(x\): expected one of model\.bundle, .*memory_mib"):
        changed(Config(), {"x": 3})


def test_a_number_in_scientific_notation_may_come_as_text() -> None:
    assert changed(Config(), {"fusion.temperature": "1e-3"}).fusion.temperature == 0.001


def test_a_list_of_one_empty_string_is_read_as_an_empty_list() -> None:
    assert changed(Config(), {"segmenter.classes": [""]}).segmenter.classes == ()
    assert changed(Config(), {"segmenter.classes": ["road", "sky"]}).segmenter.classes == ("road", "sky")


def test_a_yaml_file_changes_only_the_settings_in_it(tmp_path: Path) -> None:
    file = tmp_path / "semla.yaml"
    file.write_text("fusion: {k: 7, temperature: 0.01}\nsegmenter:\n  classes: [road, 'car, automobile']\n")
    config = load(Config(), file)
    assert config.fusion == FusionConfig(k=7, temperature=0.01)
    assert config.segmenter.classes == ("road", "car, automobile")
    assert config.tracker == Config().tracker


def test_an_empty_yaml_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.touch()
    assert load(Config(), file) == Config()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"fusion: [k", "not plain YAML"),
        (b"\xff\xfe\x00", "not plain YAML"),
        (b"!!python/object/apply:os.system ['true']", "not plain YAML"),
        (b"- 1\n", "not a mapping.*got list"),
        (b"fusion: {k: much}\n", "fusion.k.*got 'much'"),
        (b"fuzion: {k: 1}\n", "unknown setting .fuzion.k"),
        (b"fusion: 3\n", "unknown setting .fusion"),
        (b"fusion: &a {k: 1}\nother: *a\n", "not plain YAML.*aliases"),
    ],
)
def test_a_bad_yaml_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(Config(), file)


def test_a_missing_yaml_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such settings file.*gone.yaml"):
        load(Config(), tmp_path / "gone.yaml")


@pytest.mark.parametrize(("preset", "k", "temperature"), [("paper_table6", 5, 0.05), ("paper_fig10", 7, 0.01)])
def test_a_ros_parameter_file_is_read_like_a_plain_one(preset: str, k: int, temperature: float) -> None:
    config = load(Config(), CONFIG / f"{preset}.yaml")
    assert config == changed(Config(), {"fusion.k": k, "fusion.temperature": temperature})
