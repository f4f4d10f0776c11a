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
    assert paths[-1] == "library.memory_mib"
    assert paths.index("segmenter.mode") < paths.index("navigator.period_s") < paths.index("tracker.upper_threshold")


def test_every_setting_says_what_it_means_and_its_default_lies_in_its_range() -> None:
    for path, spec, value in walk(Config()):
        assert spec.metadata["doc"], path
        assert changed(Config(), {path: value}) == Config()


def test_a_change_leaves_the_old_settings_and_all_other_fields_alone() -> None:
    old = Config()
    new = changed(old, {"fusion.k": 3, "tracker.debounce_s": 2.5})
    assert (new.fusion.k, new.tracker.debounce_s) == (3, 2.5)
    assert old == Config()
    assert changed(new, {"fusion.k": 0, "tracker.debounce_s": old.tracker.debounce_s}) == old


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().fusion.k = 3  # type: ignore[misc]


def test_a_whole_number_will_do_for_a_real_setting() -> None:
    value = changed(Config(), {"tracker.debounce_s": 2}).tracker.debounce_s
    assert value == 2.0
    assert type(value) is float


@pytest.mark.parametrize(
    ("path", "value", "said"),
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
def test_a_value_of_another_type_is_refused_naming_the_setting(path: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as told:
        changed(Config(), {path: value})
    assert path in str(told.value)


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
    with pytest.raises(ConfigError, match=rf"out of range \({path}\): got {value}, expected \S+ to \S+"):
        changed(Config(), {path: value})


@pytest.mark.parametrize(
    ("path", "value"), [("fusion.k", 1000), ("tracker.min_weight_change", 2.0), ("tracker.min_weight_change", 0.0)]
)
def test_the_ends_of_a_range_belong_to_it(path: str, value: float) -> None:
    changed(Config(), {path: value})


def test_a_choice_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"model.device.*got 'tpu', expected auto \| cpu \| cuda"):
        changed(Config(), {"model.device": "tpu"})


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting \(fusion.kk\).*fusion\.temperature"):
        changed(Config(), {"fusion.kk": 3})


def test_a_list_of_one_empty_string_is_the_empty_list_of_ros() -> None:
    assert changed(Config(), {"segmenter.classes": [""]}).segmenter.classes == ()
    assert changed(Config(), {"segmenter.classes": ["road", "sky"]}).segmenter.classes == ("road", "sky")


def test_a_yaml_file_changes_what_it_names(tmp_path: Path) -> None:
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
    ("content", "said"),
    [
        (b"fusion: [k", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
        (b"- 1\n", "not a mapping.*got list"),
        (b"fusion: {k: much}\n", "fusion.k.*got 'much'"),
        (b"fuzion: {k: 1}\n", "unknown setting .fuzion.k"),
        (b"fusion: 3\n", "unknown setting .fusion"),
    ],
)
def test_a_bad_yaml_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load(Config(), file)


def test_a_missing_yaml_file_is_refused_naming_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such settings file.*gone.yaml"):
        load(Config(), tmp_path / "gone.yaml")


@pytest.mark.parametrize(("preset", "k", "temperature"), [("paper_table6", 5, 0.05), ("paper_fig10", 7, 0.01)])
def test_a_ros_parameter_file_is_read_like_a_plain_one(preset: str, k: int, temperature: float) -> None:
    config = load(Config(), CONFIG / f"{preset}.yaml")
    assert config == changed(Config(), {"fusion.k": k, "fusion.temperature": temperature})
